#include "fathom/model/weights/safetensors_writer.h"

#include <cstring>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"
#include "fathom/model/weights/checkpoint.h"

#include "tests/support/temp_dir.h"
#include "tests/unit/model/weights/tiny_checkpoint.h"

namespace fathom::weights {
namespace {

using formats::SafetensorsDType;
using formats::SafetensorsEntry;

const std::vector<SafetensorsEntry> kTensors = {entry("a", SafetensorsDType::F32, {2, 2}),
                                                entry("b", SafetensorsDType::BF16, {100}),
                                                entry("c", SafetensorsDType::I8, {3})};

void write(const std::filesystem::path& folder, const SafetensorsWriteOptions& options) {
  CheckpointWriter writer = open_safetensors_writer(folder, kTensors, "{}", options);
  const float numbers[] = {1, 2, 3, 4};
  writer.write(0, 0, std::as_bytes(std::span(numbers)));
  writer.commit();
}

TEST(SafetensorsWriter, WhatFitsOneShardIsOneFileWithoutAnIndex) {
  test::TempDir folder;
  write(folder / "out", {});
  EXPECT_TRUE(std::filesystem::exists(folder / "out/model.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(folder / "out/model.safetensors.index.json"));
  const auto checkpoint = Checkpoint::open(folder / "out");
  EXPECT_EQ(checkpoint->config_text(), "{}");
  float last = 0;
  std::memcpy(&last, checkpoint->find("a")->data + 12, 4);
  EXPECT_EQ(last, 4);
}

TEST(SafetensorsWriter, ShardsEndBeforeTheLimitAndALargerTensorHasItsOwn) {
  test::TempDir folder;
  write(folder / "out", {.max_shard_bytes = 20});
  const auto checkpoint = Checkpoint::open(folder / "out");
  EXPECT_EQ(checkpoint->files().size(), 3U);
  EXPECT_EQ(checkpoint->file_of(*checkpoint->find("b")),
            (folder / "out/model-00002-of-00003.safetensors").string());
  EXPECT_EQ(checkpoint->find("c")->num_bytes, 3);
}

TEST(SafetensorsWriter, AFileInPlaceOfTheFolderIsRefused) {
  test::TempDir folder;
  test::write_file(folder / "out", "mine");
  try {
    write(folder / "out", {.overwrite = true});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.what(), (folder / "out").string() + ": is a file, expected a folder");
  }
}

}  // namespace
}  // namespace fathom::weights
