#include "fathom/train/data/shard_writer.h"

#include <csignal>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/train/data/shard_testing.h"

namespace fathom::data {
namespace {

using fathom::testing::fails_with;
using testing::kFingerprint;
using testing::random_documents;

Index num_files(const test::TempDir& folder) {
  return std::distance(std::filesystem::directory_iterator(folder.path()), {});
}

TEST(ShardWriter, NothingIsLeftOfAShardThatWasNotFinished) {
  test::TempDir folder;
  {
    ShardWriter writer(folder / "a", 10, kFingerprint);
    writer.add(std::vector<std::int32_t>{1, 2, 3}, {}, 1);
    EXPECT_FALSE(std::filesystem::exists(folder / "a"));
  }
  EXPECT_EQ(num_files(folder), 0);
}

TEST(ShardWriter, CountsTheTargetsThatCount) {
  test::TempDir folder;
  ShardWriter writer(folder / "a", 10, kFingerprint);
  writer.add(std::vector<std::int32_t>{1, 2, 3}, {}, 1);
  writer.add(std::vector<std::int32_t>{1, 2, 3}, std::vector<std::uint8_t>{1, 0, 1}, 1);
  EXPECT_EQ(writer.finish().num_targets, 3);
}

TEST(ShardWriter, RefusesWhatAShardCannotHold) {
  test::TempDir folder;
  ShardWriter writer(folder / "a", 10, kFingerprint);
  writer.add(std::vector<std::int32_t>{1, 2, 3}, {}, 1);
  EXPECT_TRUE(
      fails_with(ErrorCode::InvalidArgument, "document 1: found token 10, expected 0 to 9", [&] {
        writer.add(std::vector<std::int32_t>{1, 10}, {}, 1);
      }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "document 1: 1 tokens and 0 flags",
                         [&] { writer.add(std::vector<std::int32_t>{1}, {}, 1); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "2 tokens and 1 flags", [&] {
    writer.add(std::vector<std::int32_t>{1, 2}, std::vector<std::uint8_t>{1}, 1);
  }));
  writer.finish();
  EXPECT_EQ(Shard(folder / "a").num_documents(), 1);
}

// The limit on the size of files stands for a disk that fills up.
TEST(ShardWriter, AFullDiskLeavesTheOldFileAndNoHalfOne) {
  test::TempDir folder;
  test::write_file(folder / "a", "old");
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small = {.rlim_cur = 300'000, .rlim_max = limit.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  std::mt19937_64 random(1);
  const auto documents = random_documents(random, 900, 900, 100, false);
  EXPECT_TRUE(fails_with(ErrorCode::Io, (folder / "a").string(),
                         [&] { testing::write_shard(folder / "a", documents, 100); }));
  setrlimit(RLIMIT_FSIZE, &limit);
  EXPECT_EQ(test::read_file(folder / "a"), "old");
  EXPECT_EQ(num_files(folder), 1);
}

}  // namespace
}  // namespace fathom::data
