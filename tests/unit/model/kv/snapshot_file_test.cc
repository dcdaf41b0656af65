#include "fathom/model/kv/snapshot_file.h"

#include <csignal>
#include <cstring>
#include <string>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/model/kv/snapshot_testing.h"

namespace fathom::kv {
namespace {

namespace fs = std::filesystem;
using fathom::testing::fails_with;
using testing::cache_of;
using testing::empty_cache;
using testing::extend;
using testing::fast_folder;
using testing::is_cache_of;
using testing::random_tokens;
using testing::Tokens;

const SnapshotKey kKey = {.fingerprint = "model", .scope = "team"};

Tokens first(const Tokens& tokens, Index count) {
  return {tokens.begin(), tokens.begin() + count};
}

void write(const std::filesystem::path& path, const Tokens& tokens, const SequenceCache& cache) {
  SnapshotImage(kKey, tokens, cache).write(path);
}

bool is_listed(const SnapshotHead& head, Index position) {
  return std::any_of(head.resumable.begin(), head.resumable.end(), [&](const TokenRange& range) {
    return range.first <= position && position <= range.last;
  });
}

class SnapshotFiles : public ::testing::TestWithParam<tensor::DType> {};

TEST_P(SnapshotFiles, ARestoredCacheGoesOnAndBackAsTheOneThatWasWritten) {
  std::mt19937 random(1);
  test::TempDir folder;
  for (const Index length : {1, 3, 15, 16, 17, 64, 150, 333}) {
    const Tokens tokens = random_tokens(random, length);
    const SequenceCache written = cache_of(tokens, GetParam());
    write(folder / "a", tokens, written);
    const SnapshotFile file(folder / "a");
    EXPECT_EQ(file.head().key, kKey);
    EXPECT_EQ(file.head().tokens, tokens);
    EXPECT_EQ(file.head().resumable, written.resumable_ranges());
    SequenceCache restored = empty_cache(GetParam());
    file.restore(length, restored);
    ASSERT_TRUE(is_cache_of(restored, tokens));
    EXPECT_EQ(restored.resumable_ranges(), written.resumable_ranges());
    EXPECT_EQ(restored.num_bytes(), written.num_bytes());
    for (Index target = 0; target <= length; ++target) {
      SequenceCache back = restored;
      SequenceCache expected = written;
      ASSERT_EQ(back.truncate(target), expected.truncate(target)) << target;
      ASSERT_TRUE(is_cache_of(back, first(tokens, back.num_tokens())));
      Tokens longer = first(tokens, target);
      longer.resize(to_size(target + 50), 5);
      extend(back, longer);
      ASSERT_TRUE(is_cache_of(back, longer)) << target;
    }
  }
}

TEST_P(SnapshotFiles, EveryResumablePositionIsRestoredByItself) {
  std::mt19937 random(2);
  test::TempDir folder;
  const Tokens tokens = random_tokens(random, 300);
  write(folder / "a", tokens, cache_of(tokens, GetParam()));
  const SnapshotFile file(folder / "a");
  Index num_restored = 0;
  for (Index position = 0; position <= 300; ++position) {
    SequenceCache restored = empty_cache(GetParam());
    if (!is_listed(file.head(), position)) {
      EXPECT_TRUE(
          fails_with(ErrorCode::Internal, "is_listed", [&] { file.restore(position, restored); }));
      continue;
    }
    ++num_restored;
    file.restore(position, restored);
    ASSERT_TRUE(is_cache_of(restored, first(tokens, position))) << position;
    Tokens longer = first(tokens, position);
    longer.resize(to_size(position + 30), 5);
    extend(restored, longer);
    ASSERT_TRUE(is_cache_of(restored, longer)) << position;
  }
  EXPECT_GE(num_restored, 40 + 4);  // raw tokens and checkpoints
}

INSTANTIATE_TEST_SUITE_P(EveryNumber,
                         SnapshotFiles,
                         ::testing::Values(tensor::DType::F32,
                                           tensor::DType::F64,
                                           tensor::DType::BF16),
                         [](const auto& item) { return std::string(to_string(item.param)); });

// What a version wrote, every program of that version reads. When this fails, the bytes have
// changed: kSnapshotVersion has to, and the kept file.
TEST(SnapshotFile, AKeptFileOfThisVersionStaysReadable) {
  const fs::path path = fs::path(FATHOM_SOURCE_DIR) / "tests/data/fuzz/snapshot/tiny.fathomkv";
  const SnapshotFile file(path);
  EXPECT_EQ(file.head().key, (SnapshotKey{.fingerprint = "model", .scope = "team"}));
  ASSERT_EQ(file.head().num_tokens(), 85);
  SequenceCache cache = empty_cache();
  file.restore(85, cache);
  EXPECT_TRUE(is_cache_of(cache, file.head().tokens));
  test::TempDir folder;
  write(folder / "a", file.head().tokens, cache);
  EXPECT_EQ(test::read_file(folder / "a"), test::read_file(path));
}

TEST(SnapshotFile, AThinnedForkMakesASmallFileThatGoesOn) {
  std::mt19937 random(3);
  test::TempDir folder;
  const Tokens tokens = random_tokens(random, 333);
  const SequenceCache cache = cache_of(tokens);
  const std::vector<Index> asked = {310};
  const SequenceCache thin = cache.thinned(asked);
  EXPECT_LT(SnapshotImage(kKey, tokens, thin).file_bytes(),
            SnapshotImage(kKey, tokens, cache).file_bytes());
  write(folder / "a", tokens, thin);
  for (const Index position : {333, 310, 320 / 64 * 64}) {
    SequenceCache restored = empty_cache();
    SnapshotFile(folder / "a").restore(position, restored);
    EXPECT_TRUE(is_cache_of(restored, first(tokens, position)));
  }
}

TEST(SnapshotFile, TheSizeIsToldBeforeAndIsPagesAndLittleMore) {
  std::mt19937 random(4);
  test::TempDir folder;
  const Tokens tokens = random_tokens(random, 320);
  const SequenceCache cache = cache_of(tokens);
  const SnapshotImage image(kKey, tokens, cache);
  image.write(folder / "a");
  EXPECT_EQ(image.file_bytes(), to_index(std::filesystem::file_size(folder / "a")));
  EXPECT_GE(image.file_bytes(), cache.num_bytes() + 4 * 320);
}

// Reads all of a file into a cache; the tokens are those of the file.
void restore_all(const std::filesystem::path& path) {
  SequenceCache cache = empty_cache();
  const SnapshotFile file(path);
  file.restore(file.head().num_tokens(), cache);
}

TEST(SnapshotFile, AFlippedBitIsFoundWhereverItIs) {
  std::mt19937 random(5);
  test::TempDir folder(fast_folder());
  const Tokens tokens = random_tokens(random, 70);
  write(folder / "a", tokens, cache_of(tokens));
  const std::string good = test::read_file(folder / "a");
  restore_all(folder / "a");
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1 << random() % 8);
    test::write_file(folder / "a", bad);
    bool is_found = false;
    try {
      restore_all(folder / "a");
    } catch (const Error& error) {
      is_found = true;
      // The version is the only field whose damage looks like something else.
      const bool is_version = at >= 8 && at < 12;
      ASSERT_EQ(error.code(), is_version ? ErrorCode::Unsupported : ErrorCode::InvalidArgument)
          << error.what();
      ASSERT_EQ(std::string(error.what()).rfind((folder / "a").string(), 0), 0U) << error.what();
    }
    ASSERT_TRUE(is_found) << "byte " << at << " of " << good.size();
  }
}

// Sizes and the pages' checksums would still fit.
TEST(SnapshotFile, APageThatIsSaidToBeAnotherIsFound) {
  test::TempDir folder;
  const Tokens tokens(333, 7);
  const SequenceCache cache = cache_of(tokens);
  Index page = 1;
  while (cache.stream(0).has_page(page) || !cache.stream(0).has_page(page - 1)) {
    ++page;
  }
  write(folder / "a", tokens, cache);
  std::string bytes = test::read_file(folder / "a");
  std::uint64_t head_bytes = 0;
  std::memcpy(&head_bytes, bytes.data() + 16, sizeof(head_bytes));
  for (const Index moved : {page - 1, page}) {
    char& bits = bytes[72 + head_bytes + to_size(moved / 8)];
    bits = static_cast<char>(bits ^ 1 << moved % 8);
  }
  test::write_file(folder / "a", bytes);
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "a: page table: its checksum differs",
                         [&] { restore_all(folder / "a"); }));
}

TEST(SnapshotFile, PagesInEachOthersPlaceAreFound) {
  test::TempDir folder;
  const Tokens tokens(64, 7);
  const SequenceCache cache = cache_of(tokens);
  write(folder / "a", tokens, cache);
  std::string bytes = test::read_file(folder / "a");
  const std::size_t page = 16 * 2 * 4;  // of the last stream
  std::swap_ranges(bytes.end() - static_cast<std::ptrdiff_t>(page), bytes.end(),
                   bytes.end() - static_cast<std::ptrdiff_t>(2 * page));
  test::write_file(folder / "a", bytes);
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "stream 5 page 2: its checksum differs",
                         [&] { restore_all(folder / "a"); }));
}

TEST(SnapshotFile, EveryShorterAndLongerFileIsFoundWhenItIsOpened) {
  std::mt19937 random(6);
  test::TempDir folder(fast_folder());
  const Tokens tokens = random_tokens(random, 40);
  write(folder / "a", tokens, cache_of(tokens));
  const auto size = std::filesystem::file_size(folder / "a");
  test::write_file(folder / "a", test::read_file(folder / "a") + "x");
  const auto open = [&] { SnapshotFile{folder / "a"}; };
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument,
                         "a: found " + std::to_string(size + 1) + " bytes, expected " +
                             std::to_string(size) + " (its prelude)",
                         open));
  for (auto shorter = size; shorter-- > 0;) {
    std::filesystem::resize_file(folder / "a", shorter);
    ASSERT_TRUE(fails_with(ErrorCode::InvalidArgument,
                           "a: found " + std::to_string(shorter) + " bytes, expected ", open));
  }
}

TEST(SnapshotFile, AFileThatShrinksWhileItIsReadIsAnErrorAndLeavesTheCacheEmpty) {
  std::mt19937 random(7);
  test::TempDir folder;
  const Tokens tokens = random_tokens(random, 100);
  write(folder / "a", tokens, cache_of(tokens));
  const SnapshotFile file(folder / "a");
  std::filesystem::resize_file(folder / "a", std::filesystem::file_size(folder / "a") - 1);
  SequenceCache cache = empty_cache();
  EXPECT_TRUE(fails_with(ErrorCode::Io, "expected", [&] { file.restore(100, cache); }));
  extend(cache, tokens);
  EXPECT_TRUE(is_cache_of(cache, tokens));
}

TEST(SnapshotFile, ACacheOfAnotherLayoutIsRefusedByName) {
  test::TempDir folder;
  const Tokens tokens(20, 7);
  write(folder / "a", tokens, cache_of(tokens));
  const SnapshotFile file(folder / "a");
  const auto refuses = [&](const std::string& message, std::vector<config::CacheStream> layout,
                           tensor::DType dtype = tensor::DType::F32) {
    SequenceCache cache(std::move(layout), dtype);
    return fails_with(ErrorCode::InvalidArgument, message, [&] { file.restore(20, cache); });
  };
  auto layout = testing::tiny_layout();
  EXPECT_TRUE(refuses("a: number type: found f32, expected f64", layout, tensor::DType::F64));
  layout[1].width = 4;
  EXPECT_TRUE(
      refuses("a: stream 1: found layer 1 kind 0 width 3 tokens per row 1, expected layer 1 "
              "kind 0 width 4 tokens per row 1",
              layout));
  layout.pop_back();
  EXPECT_TRUE(refuses("a: streams: found 6, expected 5", layout));
}

// A limit on the size of files stands for a full disk: the reservation fails the same way.
TEST(SnapshotFile, AFullDiskLeavesTheOldFileAndNothingElse) {
  test::TempDir folder;
  const Tokens few(10, 7);
  write(folder / "a", few, cache_of(few));
  const Tokens many(200, 7);
  const SequenceCache cache = cache_of(many);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_TRUE(fails_with(ErrorCode::Io, "a: ", [&] { write(folder / "a", many, cache); }));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(SnapshotFile(folder / "a").head().tokens, few);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()),
                          std::filesystem::directory_iterator()),
            1);
}

}  // namespace
}  // namespace fathom::kv
