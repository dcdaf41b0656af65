#include "fathom/model/kv/snapshot_format.h"

#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::kv {
namespace {

using Bytes = std::vector<std::byte>;
using fathom::testing::fails_with;

SnapshotHead some_head() {
  return {.key = {.fingerprint = "weights 12ab, high", .scope = "team"},
          .tokens = std::vector<std::int32_t>(100, 7),
          .resumable = {{0, 0}, {64, 64}, {90, 100}},
          .dtype = tensor::DType::F64,
          .streams = {{0, config::StreamKind::Window, 3, 1},
                      {2, config::StreamKind::Compressed, 5, 4}}};
}

template <typename T>
Bytes with(Bytes bytes, std::size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
  return bytes;
}

// Where fields of some_head() begin.
constexpr std::size_t kScope = 4 + 18;
constexpr std::size_t kTokens = kScope + 4 + 4;
constexpr std::size_t kRanges = kTokens + 8 + 400;
constexpr std::size_t kDType = kRanges + 8 + 3 * 16;
constexpr std::size_t kStreams = kDType + 4;

TEST(SnapshotFormat, AHeadIsReadAsItWasWritten) {
  const SnapshotHead head = some_head();
  const SnapshotHead read = decode_head(encode_head(head), "f");
  EXPECT_EQ(read.key, head.key);
  EXPECT_EQ(read.tokens, head.tokens);
  EXPECT_EQ(read.resumable, head.resumable);
  EXPECT_EQ(read.dtype, head.dtype);
  EXPECT_EQ(read.streams, head.streams);
  EXPECT_EQ(read.num_rows(1), 25);
  EXPECT_EQ(read.num_pages(0), 7);
  EXPECT_EQ(read.page_bytes(0, 0), 16 * 3 * 8);
  EXPECT_EQ(read.page_bytes(0, 6), 4 * 3 * 8);
  EXPECT_EQ(read.page_bytes(1, 1), 9 * 5 * 8);
}

TEST(SnapshotFormat, EveryShorterOrLongerHeadIsRefused) {
  Bytes bytes = encode_head(some_head());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto part = std::span<const std::byte>(bytes).first(size);
    ASSERT_TRUE(fails_with(ErrorCode::InvalidArgument, "f: ", [&] { decode_head(part, "f"); }));
  }
  bytes.push_back({});
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "f: head: found 1 bytes behind its end",
                         [&] { decode_head(bytes, "f"); }));
}

TEST(SnapshotFormat, FieldsOutOfRangeAreNamed) {
  const Bytes head = encode_head(some_head());
  const auto refuses = [](const std::string& message, const Bytes& bytes) {
    return fails_with(ErrorCode::InvalidArgument, message, [&] { decode_head(bytes, "f"); });
  };
  constexpr auto kHuge = std::numeric_limits<std::uint64_t>::max();
  EXPECT_TRUE(refuses("f: fingerprint: found 65537, expected 0 to 65536",
                      with(head, 0, std::uint32_t{65'537})));
  EXPECT_TRUE(refuses("f: scope: found 4294967295", with(head, kScope, ~std::uint32_t{0})));
  EXPECT_TRUE(refuses("f: tokens: found 0, expected 1 to ", with(head, kTokens, std::uint64_t{0})));
  EXPECT_TRUE(refuses("f: tokens: found 18446744073709551615", with(head, kTokens, kHuge)));
  EXPECT_TRUE(refuses("f: resumable positions: found 0", with(head, kRanges, std::uint64_t{0})));
  EXPECT_TRUE(
      refuses("f: resumable positions: found 18446744073709551615", with(head, kRanges, kHuge)));
  EXPECT_TRUE(refuses("f: resumable from: found 0, expected 1 to 100",
                      with(head, kRanges + 8 + 16, std::uint64_t{0})));
  EXPECT_TRUE(refuses("f: resumable to: found 101, expected 90 to 100",
                      with(head, kRanges + 8 + 40, std::uint64_t{101})));
  EXPECT_TRUE(refuses("f: resumable to: found 99, expected 100 at last",
                      with(head, kRanges + 8 + 40, std::uint64_t{99})));
  EXPECT_TRUE(refuses("f: number type: found 3", with(head, kDType, std::uint32_t{3})));
  EXPECT_TRUE(
      refuses("f: streams: found 3, expected 0 to 2", with(head, kStreams, std::uint64_t{3})));
  EXPECT_TRUE(refuses("f: layer: found ", with(head, kStreams + 8, ~std::uint32_t{0})));
  EXPECT_TRUE(refuses("f: kind of stream: found 7, expected 0 to 6",
                      with(head, kStreams + 12, std::uint32_t{7})));
  EXPECT_TRUE(refuses("f: width: found 0", with(head, kStreams + 16, std::uint32_t{0})));
  EXPECT_TRUE(refuses("f: tokens per row: found 0", with(head, kStreams + 20, std::uint32_t{0})));
}

TEST(SnapshotFormat, AKeyThatIsTooLongIsRefusedBeforeItIsWritten) {
  SnapshotHead head = some_head();
  head.key.scope.assign(65'537, 'x');
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "scope of 65537 bytes, expected at most 65536",
                         [&] { encode_head(head); }));
}

TEST(SnapshotFormat, APreludeIsReadAsItWasWrittenOrItsFieldIsNamed) {
  const SnapshotPrelude prelude = {.head_bytes = 10,
                                   .table_bytes = 20,
                                   .file_bytes = 200,
                                   .table_checksum = {1, 2},
                                   .head_checksum = {3, 4}};
  const auto encoded = encode_prelude(prelude);
  const Bytes bytes(encoded.begin(), encoded.end());
  const SnapshotPrelude read = decode_prelude(bytes, "f");
  EXPECT_EQ(read.head_bytes, 10);
  EXPECT_EQ(read.table_bytes, 20);
  EXPECT_EQ(read.file_bytes, 200);
  EXPECT_EQ(read.table_checksum, prelude.table_checksum);
  EXPECT_EQ(read.head_checksum, prelude.head_checksum);
  const auto refuses = [](ErrorCode code, const std::string& message, const Bytes& wrong) {
    return fails_with(code, message, [&] { decode_prelude(wrong, "f"); });
  };
  constexpr auto kInvalid = ErrorCode::InvalidArgument;
  EXPECT_TRUE(refuses(kInvalid, "f: magic: ", with(bytes, 3, 'x')));
  EXPECT_TRUE(refuses(ErrorCode::Unsupported, "f: version: found 4, expected 3",
                      with(bytes, 8, std::uint32_t{4})));
  EXPECT_TRUE(refuses(kInvalid, "f: reserved: found 1", with(bytes, 12, std::uint32_t{1})));
  EXPECT_TRUE(refuses(kInvalid, "f: size of the head: ", with(bytes, 16, ~std::uint64_t{0})));
  EXPECT_TRUE(refuses(kInvalid, "f: size of the page table: ", with(bytes, 24, ~std::uint64_t{0})));
  EXPECT_TRUE(refuses(kInvalid, "f: size of the file: found 101, expected 102 to ",
                      with(bytes, 32, std::uint64_t{101})));
  EXPECT_TRUE(
      refuses(kInvalid, "f: checksum of the head: ", Bytes(bytes.begin(), bytes.end() - 1)));
}

TEST(SnapshotFormat, APageTableIsReadAsItWasWrittenOrItsFieldIsNamed) {
  const SnapshotHead head = some_head();
  PageTable table;
  table.streams = {
      {{true, false, false, false, true, true, true}, {{1, 2}, {3, 4}, {5, 6}, {7, 8}}},
      {{true, true}, {{9, 10}, {11, 12}}}};
  const Bytes bytes = encode_table(table);
  ASSERT_EQ(bytes.size(), 2 + 6 * 16U);
  const PageTable read = decode_table(bytes, head, "f");
  for (std::size_t idx = 0; idx < 2; ++idx) {
    EXPECT_EQ(read.streams[idx].is_present, table.streams[idx].is_present);
    EXPECT_EQ(read.streams[idx].checksums, table.streams[idx].checksums);
  }
  EXPECT_EQ(row_bytes_of(read, head, "f"), (3 * 16 + 4) * 3 * 8 + (16 + 9) * 5 * 8);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto part = std::span<const std::byte>(bytes).first(size);
    ASSERT_TRUE(
        fails_with(ErrorCode::InvalidArgument, "f: ", [&] { decode_table(part, head, "f"); }));
  }
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "f: bits of pages: found page 7, expected 7",
                         [&] { decode_table(with(bytes, 0, '\xFF'), head, "f"); }));
  Bytes longer = bytes;
  longer.resize(bytes.size() + 3);
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "f: page table: found 3 bytes behind its end",
                         [&] { decode_table(longer, head, "f"); }));
}

}  // namespace
}  // namespace fathom::kv
