#include "fathom/train/data/shard.h"

#include <cstring>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/train/data/shard_testing.h"

namespace fathom::data {
namespace {

using fathom::testing::fails_with;
using testing::Document;
using testing::random_documents;
using testing::write_shard;

Document read(const Shard& shard, Index document) {
  Document result;
  shard.read(document, 0, shard.num_tokens(document), result.tokens, result.counts);
  result.hash = shard.hash(document);
  return result;
}

void expect_same(const Shard& shard, const std::vector<Document>& documents) {
  ASSERT_EQ(shard.num_documents(), to_index(documents.size()));
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const Document found = read(shard, to_index(i));
    EXPECT_EQ(found.tokens, documents[i].tokens);
    EXPECT_EQ(found.hash, documents[i].hash);
    EXPECT_EQ(found.counts, documents[i].counts.empty()
                                ? std::vector<std::uint8_t>(documents[i].tokens.size(), 1)
                                : documents[i].counts);
  }
}

TEST(Shard, DocumentsComeBackAsTheyWereWritten) {
  std::mt19937_64 random(1);
  test::TempDir folder;
  for (const Index vocabulary_size : {3, 65'536, 65'537}) {
    for (const Index count : {0, 1, 700}) {
      for (const bool has_flags : {false, true}) {
        const auto documents = random_documents(random, count, 900, vocabulary_size, has_flags);
        const ShardHeader header = write_shard(folder / "a", documents, vocabulary_size);
        const Shard shard(folder / "a");
        EXPECT_EQ(shard.header(), header);
        EXPECT_NO_THROW(shard.verify());
        expect_same(shard, documents);
      }
    }
  }
}

TEST(Shard, PartOfADocumentIsThatPart) {
  std::mt19937_64 random(2);
  test::TempDir folder;
  const auto documents = random_documents(random, 50, 40, 100, true);
  write_shard(folder / "a", documents, 100);
  const Shard shard(folder / "a");
  for (int i = 0; i < 500; ++i) {
    const Index document = static_cast<Index>(random() % 50);
    const Document& whole = documents[to_size(document)];
    const std::size_t first = random() % whole.tokens.size();
    const std::size_t count = random() % (whole.tokens.size() - first + 1);
    Document part;
    shard.read(document, to_index(first), to_index(count), part.tokens, part.counts);
    ASSERT_TRUE(
        std::equal(part.tokens.begin(), part.tokens.end(), whole.tokens.begin() + to_index(first)));
    ASSERT_TRUE(
        std::equal(part.counts.begin(), part.counts.end(), whole.counts.begin() + to_index(first)));
    ASSERT_EQ(part.tokens.size(), count);
  }
}

TEST(Shard, EveryChangedByteIsFoundAndNamed) {
  std::mt19937_64 random(3);
  test::TempDir folder;
  write_shard(folder / "a", random_documents(random, 20, 30, 100, true), 100);
  const std::string bytes = test::read_file(folder / "a");
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    const auto read_all = [&] {
      Shard(std::as_bytes(std::span(changed)), "data/shard-3").verify();
    };
    EXPECT_TRUE(fails_with(at >= 8 && at < 12 ? ErrorCode::Unsupported : ErrorCode::InvalidArgument,
                           "data/shard-3: ", read_all))
        << at;
  }
}

TEST(Shard, CutAndGrownFilesAreRefused) {
  std::mt19937_64 random(4);
  test::TempDir folder;
  write_shard(folder / "a", random_documents(random, 20, 30, 100, false), 100);
  const std::string bytes = test::read_file(folder / "a");
  for (std::size_t size = 0; size < bytes.size() + 9; size += 7) {
    std::string changed = bytes;
    changed.resize(size);
    if (size != bytes.size()) {
      EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "bytes, expected",
                             [&] { Shard(std::as_bytes(std::span(changed)), "a"); }));
    }
  }
}

TEST(Shard, DamageIsOnlyMetWhereItIsRead) {
  std::mt19937_64 random(5);
  test::TempDir folder;
  const auto documents = random_documents(random, 600, 4000, 100, false);
  write_shard(folder / "a", documents, 100);
  std::string bytes = test::read_file(folder / "a");
  bytes[128 + 2 * kShardBlockBytes + 5] ^= 1;
  const Shard shard(std::as_bytes(std::span(bytes)), "a");
  EXPECT_EQ(read(shard, 0).tokens, documents[0].tokens);
  const std::string place = "a: block 2, 262144 bytes from byte 524416 on: found checksum";
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, place, [&] { shard.verify(); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, place, [&] { shard.verify(); }));
}

}  // namespace
}  // namespace fathom::data
