#include "fathom/train/data/shard_format.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::data {
namespace {

using fathom::testing::fails_with;

constexpr ShardHeader kHeader = {.vocabulary_size = 70'000,
                                 .fingerprint = {.low = 1, .high = 2},
                                 .num_documents = 3,
                                 .num_tokens = 9,
                                 .num_targets = 6,
                                 .has_flags = true,
                                 .table_checksum = {.low = 3, .high = 4}};

TEST(ShardFormat, HeaderComesBackAsItWas) {
  EXPECT_EQ(decode_header(encode_header(kHeader), "a"), kHeader);
}

TEST(ShardFormat, PartsFollowEachOtherInWholeWords) {
  const ShardLayout layout = layout_of(kHeader, "a");
  EXPECT_EQ(layout.tokens, 128);
  EXPECT_EQ(layout.flags, 128 + 40);  // 9 tokens of 4 bytes
  EXPECT_EQ(layout.ends, layout.flags + 8);
  EXPECT_EQ(layout.hashes, layout.ends + 24);
  EXPECT_EQ(layout.checksums, layout.hashes + 24);
  EXPECT_EQ(layout.file_bytes, layout.checksums + 8);
}

TEST(ShardFormat, TokensTakeTwoBytesWhereTheVocabularyAllowsIt) {
  ShardHeader header = kHeader;
  header.vocabulary_size = 65'536;
  EXPECT_EQ(layout_of(header, "a").flags, 128 + 24);
}

TEST(ShardFormat, EveryChangedBitOfAHeaderIsFound) {
  const auto bytes = encode_header(kHeader);
  for (std::size_t byte = 0; byte < bytes.size(); ++byte) {
    auto changed = bytes;
    changed[byte] ^= std::byte{4};
    const ErrorCode code =
        byte >= 8 && byte < 12 ? ErrorCode::Unsupported : ErrorCode::InvalidArgument;
    EXPECT_TRUE(fails_with(code, "file.shard", [&] { decode_header(changed, "file.shard"); }))
        << byte;
  }
}

TEST(ShardFormat, ForeignAndShortFilesAreNamed) {
  const std::vector<std::byte> text(200, std::byte{'x'});
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "a: no shard of Fathom's",
                         [&] { decode_header(text, "a"); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "a: found 9 bytes, expected at least 128",
                         [&] { decode_header(std::span(text).first(9), "a"); }));
}

TEST(ShardFormat, CountsThatContradictEachOtherAreRefused) {
  ShardHeader header = kHeader;
  header.num_documents = 5;  // 9 tokens are at most 4 documents
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "num_documents: found 5, expected 0 to 4",
                         [&] { decode_header(encode_header(header), "a"); }));
  header = kHeader;
  header.num_targets = 7;
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "num_targets: found 7, expected 0 to 6",
                         [&] { decode_header(encode_header(header), "a"); }));
  header = kHeader;
  header.num_tokens = Index{1} << 60;
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "num_tokens",
                         [&] { decode_header(encode_header(header), "a"); }));
}

}  // namespace
}  // namespace fathom::data
