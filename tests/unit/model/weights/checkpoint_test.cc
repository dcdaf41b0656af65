#include "fathom/model/weights/checkpoint.h"

#include <functional>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"

#include "tests/support/temp_dir.h"
#include "tests/unit/model/weights/tiny_checkpoint.h"

namespace fathom::weights {
namespace {

using formats::GgufType;
using formats::GgufWriteValue;
using formats::SafetensorsDType;
using test::TempDir;
using test::write_file;

const std::string kGolden = std::string(FATHOM_SOURCE_DIR "/tests/data/golden/checkpoints/");

std::string error_of(const std::filesystem::path& path, ErrorCode code) {
  try {
    Checkpoint::open(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "no error";
}

std::string shard(const std::string& name) {
  return safetensors_bytes({entry(name, SafetensorsDType::F32, {2, 3})});
}

// One part of a split set, with one tensor.
std::string gguf_part(const std::string& tensor, std::uint32_t number, std::uint32_t count) {
  std::vector<GgufWriteValue> metadata{{"general.architecture", std::string("deepseek4")},
                                       {"split.no", number},
                                       {"split.count", count}};
  const std::vector<formats::GgufTensor> tensors{{tensor, GgufType::F32, {2, 3}, 0, 0}};
  std::string bytes = formats::make_gguf_header(metadata, tensors).header;
  return bytes.append(24, '\0');
}

TEST(Checkpoint, OpensAFolderWithOneFileAndPrefersTheModelToOtherFiles) {
  const auto checkpoint = Checkpoint::open(kGolden + "flash-tiny");
  EXPECT_EQ(checkpoint->container(), Container::Safetensors);
  ASSERT_EQ(checkpoint->files().size(), 1U);
  EXPECT_EQ(checkpoint->files()[0].filename(), "model.safetensors");
  const StoredTensor* tensor = checkpoint->find("layers.0.attn.wkv.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->shape, (std::vector<Index>{128, 256}));
  EXPECT_EQ(tensor->num_bytes, 128 * 256);
  EXPECT_EQ(checkpoint->find("no.such.tensor"), nullptr);
  EXPECT_NE(checkpoint->config_text().find("hidden_size"), std::string::npos);
  EXPECT_EQ(checkpoint->inference_config_text(), "");
}

TEST(Checkpoint, OpensShardsThroughTheirIndex) {
  const auto checkpoint = Checkpoint::open(kGolden + "pro-tiny");
  EXPECT_EQ(checkpoint->files().size(), 2U);
  Index total = 0;
  for (const auto& file : checkpoint->files()) {
    total += to_index(std::filesystem::file_size(file));
  }
  EXPECT_EQ(checkpoint->total_file_bytes(), total);
}

TEST(Checkpoint, OpensASingleFileOfAnyNameAndFindsTheInferenceConfig) {
  TempDir folder;
  write_file(folder / "weights.safetensors", shard("a"));
  write_file(folder / "config.json", "{}");
  std::filesystem::create_directory(folder / "inference");
  write_file(folder / "inference/config.json", "{\"dim\": 1}");
  for (const auto& path : {folder.path(), folder / "weights.safetensors"}) {
    const auto checkpoint = Checkpoint::open(path);
    EXPECT_NE(checkpoint->find("a"), nullptr);
    EXPECT_EQ(checkpoint->config_text(), "{}");
    EXPECT_EQ(checkpoint->inference_config_text(), "{\"dim\": 1}");
    EXPECT_EQ(checkpoint->inference_config_file(), (folder / "inference/config.json").string());
  }
}

TEST(Checkpoint, WithoutAConfigTheTextIsEmptyAndThePlaceIsKnown) {
  TempDir folder;
  write_file(folder / "model.safetensors", shard("a"));
  const auto checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint->config_text(), "");
  EXPECT_EQ(checkpoint->config_file(), (folder / "config.json").string());
}

TEST(Checkpoint, AMissingShardIsAnErrorThatNamesIt) {
  TempDir folder;
  write_file(folder / "model-1.safetensors", shard("a"));
  write_file(folder / "model.safetensors.index.json",
             formats::make_safetensors_index(
                 {{"a", "model-1.safetensors"}, {"b", "model-2.safetensors"}}, 48));
  EXPECT_EQ(error_of(folder.path(), ErrorCode::Io),
            (folder / "model-2.safetensors").string() +
                ": missing, but model.safetensors.index.json names it");
}

TEST(Checkpoint, AnIndexThatNamesATensorItsShardLacksIsAnError) {
  TempDir folder;
  write_file(folder / "model-1.safetensors", shard("a"));
  write_file(folder / "model-2.safetensors", shard("b"));
  const std::string index = (folder / "model.safetensors.index.json").string();
  write_file(index, formats::make_safetensors_index(
                        {{"a", "model-1.safetensors"}, {"c", "model-2.safetensors"}}, 48));
  EXPECT_EQ(error_of(folder.path(), ErrorCode::InvalidCheckpoint),
            (folder / "model-2.safetensors").string() +
                ": no tensor c, but model.safetensors.index.json says it is there");
  // It is there, but in another shard.
  write_file(index, formats::make_safetensors_index({{"a", "model-2.safetensors"},
                                                     {"b", "model-2.safetensors"},
                                                     {"x", "model-1.safetensors"}},
                                                    48));
  EXPECT_EQ(error_of(folder.path(), ErrorCode::InvalidCheckpoint),
            (folder / "model-2.safetensors").string() +
                ": no tensor a, but model.safetensors.index.json says it is there");
}

TEST(Checkpoint, ATensorInTwoFilesIsAnErrorThatNamesBoth) {
  TempDir folder;
  write_file(folder / "model-1.safetensors", shard("a"));
  write_file(folder / "model-2.safetensors",
             safetensors_bytes(
                 {entry("a", SafetensorsDType::F32, {1}), entry("b", SafetensorsDType::F32, {1})}));
  write_file(folder / "model.safetensors.index.json",
             formats::make_safetensors_index(
                 {{"a", "model-1.safetensors"}, {"b", "model-2.safetensors"}}, 48));
  EXPECT_EQ(error_of(folder.path(), ErrorCode::InvalidCheckpoint),
            (folder / "model-2.safetensors").string() + ": tensor a is also in " +
                (folder / "model-1.safetensors").string());
}

TEST(Checkpoint, WhatIsNoCheckpointIsRefusedByName) {
  TempDir folder;
  EXPECT_EQ(error_of(folder / "nothing", ErrorCode::Io),
            "open " + (folder / "nothing").string() + ": No such file or directory");
  EXPECT_EQ(error_of(folder.path(), ErrorCode::InvalidCheckpoint),
            folder.path().string() +
                ": 0 .safetensors files, expected one, or several with a "
                "model.safetensors.index.json");
  write_file(folder / "model.bin", "x");
  EXPECT_EQ(
      error_of(folder / "model.bin", ErrorCode::InvalidArgument),
      (folder / "model.bin").string() + ": expected a folder, a .safetensors file or a .gguf file");
  write_file(folder / "model.safetensors", "short");
  EXPECT_NE(error_of(folder.path(), ErrorCode::InvalidCheckpoint).find("model.safetensors"),
            std::string::npos);
}

TEST(Checkpoint, OpensASplitGgufSetByAnyOfItsParts) {
  TempDir folder;
  write_file(folder / "m-00001-of-00002.gguf", gguf_part("a", 0, 2));
  write_file(folder / "m-00002-of-00002.gguf", gguf_part("b", 1, 2));
  for (const char* name : {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}) {
    const auto checkpoint = Checkpoint::open(folder / name);
    EXPECT_EQ(checkpoint->container(), Container::Gguf);
    EXPECT_EQ(checkpoint->files().size(), 2U);
    EXPECT_NE(checkpoint->find("a"), nullptr);
    ASSERT_NE(checkpoint->find("b"), nullptr);
    EXPECT_EQ(checkpoint->file_of(*checkpoint->find("b")),
              (folder / "m-00002-of-00002.gguf").string());
    EXPECT_EQ(checkpoint->gguf().find_integer("split.no", ""), 0);
  }
}

TEST(Checkpoint, AGapInASplitSetIsAnErrorThatNamesThePart) {
  TempDir folder;
  write_file(folder / "m-00001-of-00003.gguf", gguf_part("a", 0, 3));
  write_file(folder / "m-00003-of-00003.gguf", gguf_part("c", 2, 3));
  EXPECT_EQ(error_of(folder / "m-00003-of-00003.gguf", ErrorCode::Io),
            (folder / "m-00002-of-00003.gguf").string() + ": missing part 2 of 3");
  write_file(folder / "m-00002-of-00003.gguf", gguf_part("b", 2, 3));
  EXPECT_EQ(error_of(folder / "m-00001-of-00003.gguf", ErrorCode::InvalidCheckpoint),
            (folder / "m-00002-of-00003.gguf").string() +
                ": split.no 2 of split.count 3, expected 1 of 3 (its name says so)");
  write_file(folder / "single.gguf", gguf_part("a", 0, 3));
  EXPECT_EQ(error_of(folder / "single.gguf", ErrorCode::InvalidCheckpoint),
            (folder / "single.gguf").string() +
                ": split.no 0 of split.count 3, expected 0 of 1 (its name says so)");
}

TEST(FirstPart, IsFoundFromAnyPartOfASplitSetAndNoOtherNameIsChanged) {
  EXPECT_EQ(first_part("/m/v4-00003-of-00012.gguf"), "/m/v4-00001-of-00012.gguf");
  EXPECT_EQ(first_part("v4-00001-of-00002.gguf"), "v4-00001-of-00002.gguf");
  for (const char* name : {"v4.gguf", "-00003-of-00012.gguf", "v4-00003-of-0012.gguf",
                           "v4-00a03-of-00012.gguf", "v4-00003-of-00012.safetensors"}) {
    EXPECT_EQ(first_part(name), name);
  }
}

}  // namespace
}  // namespace fathom::weights
