#include "fathom/train/loop/checkpoint.h"

#include <csignal>
#include <cstring>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::train {
namespace {

using fathom::test::read_file;
using fathom::test::TempDir;
using fathom::test::write_file;
using testing::fails_with;

struct Numbers {
  std::vector<float> a = {1, 2, 3, 4, 5, 6};
  std::vector<float> b = {-0.0F, 1e-30F};
  std::vector<optim::StateTensor> tensors() { return {{"a", 2, 3, a}, {"adamw.m.a", 1, 2, b}}; }
};

const CheckpointFacts kFacts = {{"run", "{\"step\": 3}"}, {"data", "caf\xc3\xa9"}};

CheckpointReader reader_of(const std::string& bytes) {
  return {std::as_bytes(std::span(bytes)), "file"};
}

std::string written(Numbers numbers = {}) {
  const TempDir dir;
  write_checkpoint(dir / "c.safetensors", kFacts, numbers.tensors());
  return read_file(dir / "c.safetensors");
}

TEST(Checkpoint, WhatWasWrittenIsReadBit) {
  const std::string bytes = written();
  const CheckpointReader reader = reader_of(bytes);
  EXPECT_EQ(reader.facts(), kFacts);
  Numbers again{{0, 0, 0, 0, 0, 0}, {1, 1}};
  reader.read(again.tensors());
  EXPECT_EQ(again.a, Numbers().a);
  EXPECT_EQ(std::memcmp(again.b.data(), Numbers().b.data(), 8), 0);
}

TEST(Checkpoint, EveryChangedByteIsNoticed) {
  const std::string bytes = written();
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x04);
    EXPECT_THROW(reader_of(damaged), Error) << "byte " << at;
  }
}

TEST(Checkpoint, EveryShorterFileIsRefused) {
  const std::string bytes = written();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(reader_of(bytes.substr(0, size)), Error) << size;
  }
}

TEST(Checkpoint, OtherTensorsThanWereWrittenAreRefusedAndNothingIsChanged) {
  const std::string bytes = written();
  const CheckpointReader reader = reader_of(bytes);
  std::vector<float> a(6, 7.0F);
  std::vector<float> b(2, 7.0F);
  const auto refused = [&](const std::vector<optim::StateTensor>& tensors,
                           const std::string& part) {
    const bool is_refused =
        fails_with(ErrorCode::InvalidCheckpoint, part, [&] { reader.read(tensors); });
    return is_refused && a == std::vector<float>(6, 7.0F) && b == std::vector<float>(2, 7.0F);
  };
  EXPECT_TRUE(refused({{"a", 2, 3, a}}, "2 tensors, expected 1"));
  EXPECT_TRUE(refused({{"a", 2, 3, a}, {"c", 1, 2, b}}, "no tensor \"c\""));
  EXPECT_TRUE(refused({{"a", 3, 2, a}, {"adamw.m.a", 1, 2, b}},
                      "tensor \"a\": shape [2, 3], expected [3, 2]"));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidCheckpoint, "no settings",
                         [&] { static_cast<void>(reader.fact("settings")); }));
}

TEST(Checkpoint, AnotherFileIsNotACheckpoint) {
  const std::string header = R"({"a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}})";
  std::string bytes(8, '\0');
  const auto size = static_cast<std::uint64_t>(header.size());
  std::memcpy(bytes.data(), &size, 8);
  bytes += header + std::string(4, '\0');
  EXPECT_TRUE(fails_with(ErrorCode::InvalidCheckpoint, "not a checkpoint of a training run",
                         [&] { reader_of(bytes); }));
}

// The limit on a file's size stands for a full disk: both end in a write that is refused.
TEST(Checkpoint, AFullDiskLeavesTheOldFileAndNoOther) {
  const TempDir dir;
  Numbers numbers;
  write_checkpoint(dir / "c.safetensors", kFacts, numbers.tensors());
  const std::string before = read_file(dir / "c.safetensors");
  std::vector<float> large(1 << 16, 1.0F);
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit small{.rlim_cur = 1 << 16, .rlim_max = old.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const bool is_refused = fails_with(ErrorCode::Io, "c.safetensors: File too large", [&] {
    write_checkpoint(dir / "c.safetensors", kFacts,
                     std::vector<optim::StateTensor>{{"a", 1 << 8, 1 << 8, large}});
  });
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(is_refused);
  EXPECT_EQ(read_file(dir / "c.safetensors"), before);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

}  // namespace
}  // namespace fathom::train
