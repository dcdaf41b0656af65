#include "fathom/train/data/manifest.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::data {
namespace {

using fathom::testing::fails_with;

Manifest example() {
  return {
      .tokenizer_file = "tokenizer.json",
      .fingerprint = "0123",
      .vocabulary_size = 512,
      .validation_share = 0.01,
      .shards = {{.file = "shard-00000", .num_documents = 3, .num_tokens = 9, .num_targets = 6},
                 {.file = "shard-00001", .num_documents = 1, .num_tokens = 2, .num_targets = 1}},
      .notes = "\"sources\": [\"a \\\"b\\\"\"]"};
}

std::string changed(const std::string& from, const std::string& to) {
  std::string json = print_manifest(example());
  const std::size_t at = json.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return json.replace(at, from.size(), to);
}

TEST(Manifest, ComesBackAsItWas) {
  const Manifest found = parse_manifest(print_manifest(example()), "data.json");
  EXPECT_EQ(found.tokenizer_file, "tokenizer.json");
  EXPECT_EQ(found.fingerprint, "0123");
  EXPECT_EQ(found.vocabulary_size, 512);
  EXPECT_EQ(found.validation_share, 0.01);
  EXPECT_EQ(found.shards, example().shards);
}

TEST(Manifest, WhatIsWrongIsNamed) {
  const auto refuses = [](const std::string& json, const std::string& part) {
    return fails_with(ErrorCode::InvalidArgument, part,
                      [&] { parse_manifest(json, "d/data.json"); });
  };
  EXPECT_TRUE(refuses("{}", "d/data.json: format"));
  EXPECT_TRUE(refuses("[1", "d/data.json"));
  EXPECT_TRUE(refuses(changed("\"documents\": 1", "\"documents\": -1"),
                      "d/data.json: shards[1].documents"));
  EXPECT_TRUE(refuses(changed("shard-00001", "../x"), "shards[1].file"));
  EXPECT_TRUE(refuses(changed("0.01", "1.5"), "validation_share"));
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported, "version: found 2, expected 1", [] {
    parse_manifest(changed("\"version\": 1", "\"version\": 2"), "d/data.json");
  }));
}

TEST(Manifest, AFolderWithoutOneIsNamed) {
  test::TempDir folder;
  EXPECT_TRUE(fails_with(ErrorCode::Io, "data.json: found no such file",
                         [&] { read_manifest(folder.path()); }));
  test::write_file(folder / "data.json", print_manifest(example()));
  EXPECT_EQ(read_manifest(folder.path()).shards.size(), 2U);
}

}  // namespace
}  // namespace fathom::data
