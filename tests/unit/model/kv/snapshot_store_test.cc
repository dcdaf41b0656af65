#include "fathom/model/kv/snapshot_store.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <map>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/model/kv/snapshot_testing.h"

namespace fathom::kv {
namespace {

namespace fs = std::filesystem;
using fathom::testing::fails_with;
using testing::cache_of;
using testing::empty_cache;
using testing::fast_folder;
using testing::is_cache_of;
using testing::random_tokens;
using testing::Tokens;
using Result = SnapshotStore::SaveResult;

constexpr Index kPlenty = Index{1} << 30;
const SnapshotKey kKey = {.fingerprint = "model", .scope = "team"};

Tokens first(const Tokens& tokens, Index count) {
  return {tokens.begin(), tokens.begin() + count};
}

Tokens joined(Tokens tokens, const Tokens& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
  return tokens;
}

Result save(SnapshotStore& store, const Tokens& tokens, const SnapshotKey& key = kKey) {
  return store.save(key, tokens, cache_of(tokens));
}

// How many tokens of a prompt the store gives back; what it gives back is right.
Index loaded(SnapshotStore& store, const Tokens& prompt, const SnapshotKey& key = kKey) {
  const auto match = store.find(key, prompt);
  SequenceCache cache = empty_cache();
  if (!match || !store.load(*match, cache)) {
    return 0;
  }
  EXPECT_EQ(cache.num_tokens(), match->num_tokens);
  EXPECT_TRUE(is_cache_of(cache, first(prompt, match->num_tokens)));
  return cache.num_tokens();
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".fathomkv") {
      files.push_back(entry.path());
    }
  }
  return files;
}

Index bytes_in(const fs::path& folder) {
  Index total = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    total += entry.is_regular_file() ? to_index(entry.file_size()) : 0;
  }
  return total;
}

TEST(SnapshotStore, WhatWasSavedIsFoundAfterARestart) {
  std::mt19937 random(1);
  test::TempDir folder;
  const Tokens tokens = random_tokens(random, 100);
  Tokens prompt = joined(tokens, {1, 2, 3});
  {
    SnapshotStore store(folder / "deep/er", kPlenty);
    EXPECT_EQ(loaded(store, prompt), 0);
    EXPECT_EQ(save(store, tokens), Result::Written);
    EXPECT_EQ(loaded(store, prompt), 100);
    EXPECT_EQ(store.used_bytes(), to_index(fs::file_size(files_in(folder / "deep/er").at(0))));
  }
  SnapshotStore store(folder / "deep/er", kPlenty);
  EXPECT_EQ(loaded(store, prompt), 100);
  EXPECT_EQ(store.num_snapshots(), 1);
  EXPECT_EQ(store.used_bytes(), to_index(fs::file_size(files_in(folder / "deep/er").at(0))));
  EXPECT_TRUE(store.take_notes().empty());
}

TEST(SnapshotStore, ScopesAndFingerprintsDoNotMeet) {
  test::TempDir folder;
  SnapshotStore store(folder.path(), kPlenty);
  const Tokens tokens(50, 7);
  save(store, tokens);
  EXPECT_EQ(loaded(store, tokens), 50);
  EXPECT_EQ(loaded(store, tokens, {.fingerprint = "model", .scope = "other"}), 0);
  EXPECT_EQ(loaded(store, tokens, {.fingerprint = "model 2", .scope = "team"}), 0);
  save(store, tokens, {.fingerprint = "model", .scope = "other"});
  EXPECT_EQ(store.num_snapshots(), 2);
  EXPECT_EQ(loaded(store, tokens, {.fingerprint = "model", .scope = "other"}), 50);
}

TEST(SnapshotStore, FindsTheLongestResumablePrefixAsASearchOfAllDoes) {
  std::mt19937 random(2);
  test::TempDir folder(fast_folder());
  auto store = std::make_unique<SnapshotStore>(folder.path(), kPlenty);
  // What is stored: a sequence is dropped where a later one holds it as a resumable prefix.
  std::vector<std::pair<Tokens, std::vector<TokenRange>>> all;
  const auto best_of = [&](const Tokens& prompt) {
    Index best = 0;
    for (const auto& [tokens, ranges] : all) {
      for (Index count = 0; count <= to_index(std::min(tokens.size(), prompt.size())); ++count) {
        const bool is_resumable = std::any_of(
            ranges.begin(), ranges.end(),
            [&](const TokenRange& range) { return range.first <= count && count <= range.last; });
        if (is_resumable && first(tokens, count) == first(prompt, count)) {
          best = std::max(best, count);
        }
      }
    }
    return best;
  };
  std::vector<Tokens> known = {{}};
  Index num_hits = 0;
  for (int round = 0; round < 150; ++round) {
    const Tokens& base = known[random() % known.size()];
    Tokens tokens = first(base, static_cast<Index>(random() % (base.size() + 1)));
    tokens = joined(tokens, random_tokens(random, 1 + static_cast<Index>(random() % 60), 3));
    known.push_back(tokens);
    if (random() % 3 == 0) {
      save(*store, tokens);
      all.emplace_back(tokens, cache_of(tokens).resumable_ranges());
    }
    if (random() % 20 == 0) {
      store.reset();
      store = std::make_unique<SnapshotStore>(folder.path(), kPlenty);
    }
    const Tokens& prompt = known[random() % known.size()];
    const auto match = store->find(kKey, prompt);
    ASSERT_EQ(match ? match->num_tokens : 0, best_of(prompt)) << "round " << round;
    if (match) {
      ++num_hits;
      ASSERT_EQ(loaded(*store, prompt), match->num_tokens);
    }
  }
  EXPECT_GT(num_hits, 50);
}

TEST(SnapshotStore, ALongerSequenceReplacesItsPrefixAndServesIt) {
  std::mt19937 random(3);
  test::TempDir folder;
  SnapshotStore store(folder.path(), kPlenty);
  const Tokens tokens = random_tokens(random, 120);
  EXPECT_EQ(save(store, first(tokens, 100)), Result::Written);
  EXPECT_EQ(save(store, tokens), Result::Written);
  EXPECT_EQ(store.num_snapshots(), 1);
  EXPECT_EQ(files_in(folder.path()).size(), 1U);
  EXPECT_EQ(save(store, tokens), Result::AlreadyThere);
  EXPECT_EQ(save(store, first(tokens, 100)), Result::AlreadyThere);
  EXPECT_EQ(loaded(store, first(tokens, 100)), 100);
}

TEST(SnapshotStore, APrefixThatTheLongerOneCannotResumeStays) {
  std::mt19937 random(4);
  test::TempDir folder;
  SnapshotStore store(folder.path(), kPlenty);
  const Tokens tokens = random_tokens(random, 250);
  ASSERT_FALSE(cache_of(tokens).is_resumable(100));
  save(store, first(tokens, 100));
  save(store, tokens);
  EXPECT_EQ(store.num_snapshots(), 2);
  EXPECT_EQ(loaded(store, first(tokens, 110)), 100);
  EXPECT_EQ(loaded(store, first(tokens, 249)), 249);
}

TEST(SnapshotStore, TheLeastRecentlyUsedGoFirstAlsoAfterARestart) {
  std::mt19937 random(5);
  test::TempDir folder;
  std::vector<Tokens> sequences;
  for (int i = 0; i < 4; ++i) {
    sequences.push_back(joined({i}, random_tokens(random, 100)));
  }
  Index one = 0;
  {
    SnapshotStore store(folder.path(), kPlenty);
    save(store, sequences[0]);
    one = store.used_bytes();
    save(store, sequences[1]);
    save(store, sequences[2]);
    EXPECT_EQ(loaded(store, sequences[0]), 101);
  }
  SnapshotStore store(folder.path(), 3 * one);
  EXPECT_EQ(save(store, sequences[3]), Result::Written);
  EXPECT_EQ(loaded(store, sequences[1]), 0);
  EXPECT_EQ(loaded(store, sequences[2]), 101);
  EXPECT_EQ(loaded(store, sequences[0]), 101);
  EXPECT_EQ(loaded(store, sequences[3]), 101);
  EXPECT_EQ(store.used_bytes(), 3 * one);
}

TEST(SnapshotStore, WhatIsReplacedMakesRoomBeforeWhatIsOlder) {
  std::mt19937 random(15);
  test::TempDir folder;
  const Tokens older = joined({1}, random_tokens(random, 80));
  const Tokens tokens = joined({2}, random_tokens(random, 80));
  Index budget = 0;
  {
    SnapshotStore store(folder.path(), kPlenty);
    save(store, older);
    save(store, tokens);
    budget = store.used_bytes() * 5 / 4;
  }
  SnapshotStore store(folder.path(), budget);
  EXPECT_EQ(save(store, joined(tokens, {3})), Result::Written);
  EXPECT_EQ(loaded(store, older), 81);
  EXPECT_EQ(loaded(store, tokens), 81);
}

TEST(SnapshotStore, TheFilesNeverTakeMoreThanTheBudget) {
  std::mt19937 random(6);
  test::TempDir folder(fast_folder());
  Index budget = 0;
  {
    SnapshotStore probe(folder.path(), kPlenty);
    save(probe, random_tokens(random, 200));
    budget = 3 * probe.used_bytes();
  }
  SnapshotStore store(folder.path(), budget);
  Index num_written = 0;
  for (int round = 0; round < 60; ++round) {
    const Tokens tokens = random_tokens(random, 1 + static_cast<Index>(random() % 250), 2);
    num_written += save(store, tokens) == Result::Written ? 1 : 0;
    ASSERT_LE(store.used_bytes(), budget);
    ASSERT_EQ(store.used_bytes(), bytes_in(folder.path()));
    ASSERT_EQ(store.num_snapshots(), to_index(files_in(folder.path()).size()));
  }
  EXPECT_GT(num_written, 40);
  EXPECT_EQ(save(store, random_tokens(random, 2000)), Result::TooLarge);
  EXPECT_GT(store.num_snapshots(), 1);
}

TEST(SnapshotStore, ASmallerBudgetIsKeptFromTheStart) {
  std::mt19937 random(7);
  test::TempDir folder;
  Index all = 0;
  {
    SnapshotStore store(folder.path(), kPlenty);
    for (int i = 0; i < 5; ++i) {
      save(store, joined({i}, random_tokens(random, 100)));
    }
    all = store.used_bytes();
  }
  SnapshotStore store(folder.path(), all / 2);
  EXPECT_EQ(store.num_snapshots(), 2);
  EXPECT_EQ(bytes_in(folder.path()), store.used_bytes());
}

// A snapshot and what else may lie in a folder, and what becomes of it.
TEST(SnapshotStore, NothingInTheFolderRefusesTheStart) {
  std::mt19937 random(8);
  test::TempDir folder;
  const Tokens tokens = random_tokens(random, 90);
  {
    SnapshotStore store(folder.path(), kPlenty);
    save(store, tokens);
  }
  const fs::path good = files_in(folder.path()).at(0);
  const std::string bytes = test::read_file(good);
  const auto ours = [&](char digit, const std::string& rest = "") {
    return folder / ("snapshot-" + std::string(32, digit) + ".fathomkv" + rest);
  };
  test::write_file(ours('1'), "");
  test::write_file(ours('2'), bytes.substr(0, bytes.size() / 2));
  test::write_file(ours('3'), "text of somebody who likes long names");
  std::string newer = bytes;
  newer[8] = 9;
  test::write_file(ours('4'), newer);
  test::write_file(ours('5', ".partial-123"), bytes.substr(0, 50));
  fs::create_directory(ours('6'));
  fs::create_symlink(good, ours('7'));
  ASSERT_EQ(mkfifo(ours('8').c_str(), 0600), 0);
  const std::vector<fs::path> foreign = {folder / "notes.txt", ours('9', ".bak"), ours('g'),
                                         folder / "snapshot-12.fathomkv", ours('5', ".partial-x")};
  for (const fs::path& path : foreign) {
    test::write_file(path, "not ours");
  }
  SnapshotStore store(folder.path(), kPlenty);
  std::map<std::string, int> notes;
  for (const std::string& note : store.take_notes()) {
    EXPECT_EQ(note.find('\n'), std::string::npos);
    for (const char* kind : {"found 0 bytes, expected at least 72 (a snapshot's prelude); removed",
                             "(its prelude); removed", "expected at least 72", "version: found 9",
                             "writing was interrupted", "not a regular file"}) {
      notes[kind] += note.find(kind) != std::string::npos ? 1 : 0;
    }
    notes["all"] += 1;
  }
  EXPECT_EQ(notes["found 0 bytes, expected at least 72 (a snapshot's prelude); removed"], 1);
  EXPECT_EQ(notes["(its prelude); removed"], 1);
  EXPECT_EQ(notes["expected at least 72"], 2);
  EXPECT_EQ(notes["version: found 9"], 1);
  EXPECT_EQ(notes["writing was interrupted"], 1);
  EXPECT_EQ(notes["not a regular file"], 3);
  EXPECT_EQ(notes["all"], 8);
  for (const char digit : {'1', '2', '3'}) {
    EXPECT_FALSE(fs::exists(ours(digit))) << digit;
  }
  EXPECT_FALSE(fs::exists(ours('5', ".partial-123")));
  EXPECT_TRUE(fs::exists(ours('4')));  // of use to another version
  for (const fs::path& path : foreign) {
    EXPECT_EQ(test::read_file(path), "not ours") << path;
  }
  EXPECT_EQ(store.num_snapshots(), 1);
  EXPECT_EQ(store.used_bytes(), to_index(bytes.size() + newer.size()));
  EXPECT_EQ(loaded(store, tokens), 90);
}

TEST(SnapshotStore, AnotherVersionsFileGoesWhenItsRoomIsNeeded) {
  std::mt19937 random(9);
  test::TempDir folder;
  const Tokens tokens = random_tokens(random, 90);
  {
    SnapshotStore store(folder.path(), kPlenty);
    save(store, tokens);
  }
  const fs::path path = files_in(folder.path()).at(0);
  std::string bytes = test::read_file(path);
  bytes[8] = 9;
  test::write_file(path, bytes);
  SnapshotStore store(folder.path(), to_index(bytes.size()));
  EXPECT_EQ(loaded(store, tokens), 0);
  EXPECT_EQ(save(store, tokens), Result::Written);
  EXPECT_EQ(loaded(store, tokens), 90);
  EXPECT_EQ(store.used_bytes(), to_index(bytes.size()));
}

TEST(SnapshotStore, DamageThatShowsOnlyWhenItIsLoadedCostsTheSnapshotAndNothingElse) {
  std::mt19937 random(10);
  test::TempDir folder;
  SnapshotStore store(folder.path(), kPlenty);
  const Tokens tokens = random_tokens(random, 90);
  const Tokens other = joined({1}, tokens);
  save(store, tokens);
  const fs::path path = files_in(folder.path()).at(0);
  save(store, other);
  std::string bytes = test::read_file(path);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  test::write_file(path, bytes);
  EXPECT_EQ(loaded(store, tokens), 0);
  const auto notes = store.take_notes();
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_NE(notes[0].find("its checksum differs: the file is damaged; removed"), std::string::npos)
      << notes[0];
  EXPECT_FALSE(fs::exists(path));
  EXPECT_EQ(loaded(store, other), 91);
  EXPECT_EQ(store.used_bytes(), bytes_in(folder.path()));
  EXPECT_EQ(save(store, tokens), Result::Written);
  EXPECT_EQ(loaded(store, tokens), 90);
}

TEST(SnapshotStore, AFileThatWasTakenAwayOrPutInAnothersPlaceIsNotUsed) {
  std::mt19937 random(11);
  test::TempDir folder;
  SnapshotStore store(folder.path(), kPlenty);
  const Tokens one = random_tokens(random, 90);
  const Tokens two = random_tokens(random, 90);
  save(store, one);
  const fs::path path = files_in(folder.path()).at(0);
  save(store, two);
  for (const fs::path& each : files_in(folder.path())) {
    if (each != path) {
      fs::rename(each, path);
    }
  }
  EXPECT_EQ(loaded(store, one), 0);
  EXPECT_EQ(loaded(store, two), 0);
  EXPECT_EQ(store.num_snapshots(), 0);
  EXPECT_EQ(store.used_bytes(), 0);
  EXPECT_EQ(store.take_notes().size(), 2U);
}

TEST(SnapshotStore, AMatchThatWasEvictedMeanwhileLoadsNothing) {
  test::TempDir folder;
  SnapshotStore store(folder.path(), kPlenty);
  const Tokens tokens(50, 7);
  save(store, tokens);
  const auto match = store.find(kKey, tokens);
  ASSERT_TRUE(match.has_value());
  save(store, Tokens(60, 7));
  SequenceCache cache = empty_cache();
  EXPECT_FALSE(store.load(*match, cache));
  EXPECT_EQ(cache.num_tokens(), 0);
  EXPECT_TRUE(store.take_notes().empty());
}

// A limit on the size of files stands for a full disk: the reservation fails the same way.
TEST(SnapshotStore, AFullDiskIsAnErrorThatLeavesTheOthersUsable) {
  test::TempDir folder;
  SnapshotStore store(folder.path(), kPlenty);
  const Tokens few(20, 7);
  const Tokens many(300, 8);
  save(store, few);
  const SequenceCache cache = cache_of(many);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{8192, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_TRUE(fails_with(ErrorCode::Io, "write ", [&] { store.save(kKey, many, cache); }));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(files_in(folder.path()).size(), 1U);
  EXPECT_EQ(bytes_in(folder.path()), store.used_bytes());
  EXPECT_EQ(loaded(store, few), 20);
  EXPECT_EQ(save(store, many), Result::Written);
  EXPECT_EQ(loaded(store, many), 300);
}

TEST(SnapshotStore, AFolderInUseIsRefusedByName) {
  test::TempDir folder;
  const SnapshotStore store(folder.path(), kPlenty);
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument,
                         folder.path().string() + ": another process uses this folder",
                         [&] { SnapshotStore(folder.path(), kPlenty); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "budget of -1 bytes",
                         [&] { SnapshotStore(folder / "b", -1); }));
  test::write_file(folder / "file", "");
  EXPECT_TRUE(fails_with(ErrorCode::Io, "create ",
                         [&] { SnapshotStore(folder / "file/folder", kPlenty); }));
}

TEST(SnapshotStore, OneThreadReadsWhileAnotherWritesAndEvicts) {
  std::mt19937 random(12);
  test::TempDir folder(fast_folder());
  std::vector<Tokens> sequences;
  for (int i = 0; i < 12; ++i) {
    sequences.push_back(random_tokens(random, 60 + 10 * i));
  }
  Index budget = 0;
  {
    SnapshotStore probe(folder.path(), kPlenty);
    save(probe, sequences.back());
    budget = 4 * probe.used_bytes();
  }
  SnapshotStore store(folder.path(), budget);
  std::atomic<bool> is_done = false;
  std::thread writer([&] {
    for (int round = 0; round < 80; ++round) {
      save(store, sequences[to_size(round * 7 % 12)]);
    }
    is_done = true;
  });
  Index num_loaded = 0;
  for (int round = 0; !is_done || round < 12; ++round) {
    num_loaded += loaded(store, sequences[to_size(round % 12)]) > 0 ? 1 : 0;
  }
  writer.join();
  EXPECT_GT(num_loaded, 0);
  EXPECT_TRUE(store.take_notes().empty());
}

// What a round of the kill test writes: everybody can tell it from the round's number.
std::vector<Tokens> sequences_of_round(unsigned round) {
  std::mt19937 random(round);
  std::vector<Tokens> sequences;
  Tokens tokens;
  for (int i = 0; i < 40; ++i) {
    if (random() % 3 == 0) {
      tokens = first(tokens, static_cast<Index>(random() % (tokens.size() + 1)));
    }
    tokens = joined(tokens, random_tokens(random, 1 + static_cast<Index>(random() % 50), 3));
    sequences.push_back(tokens);
  }
  return sequences;
}

// In a child: saves until it is killed; says so over the pipe when it begins.
[[noreturn]] void save_until_killed(const fs::path& folder,
                                    Index budget,
                                    unsigned round,
                                    int pipe) {
  try {
    // Before it begins, so that most kills meet a file that is being written.
    const std::vector<Tokens> sequences = sequences_of_round(round);
    std::vector<SequenceCache> caches;
    for (const Tokens& tokens : sequences) {
      caches.push_back(cache_of(tokens));
    }
    const char byte = 0;
    if (write(pipe, &byte, 1) != 1) {
      _exit(3);
    }
    SnapshotStore store(folder, budget);
    for (std::size_t idx = 0;; idx = (idx + 1) % sequences.size()) {
      store.save(kKey, sequences[idx], caches[idx]);
    }
  } catch (const std::exception& error) {
    static_cast<void>(std::fprintf(stderr, "round %u: %s\n", round, error.what()));
  }
  _exit(2);
}

TEST(SnapshotStore, KilledAtRandomPoints200TimesItStartsAndNeverGivesAWrongRow) {
  // What a killed process wrote is there whatever the disk does; in memory, more happens in a
  // second.
  const fs::path memory = "/dev/shm";
  test::TempDir folder(fs::is_directory(memory) ? memory : fs::temp_directory_path());
  constexpr Index kBudget = 120'000;
  std::mt19937 random(13);
  Index num_loaded = 0;
  Index num_interrupted = 0;
  for (unsigned round = 0; round < 200; ++round) {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      save_until_killed(folder.path(), kBudget, round, ready[1]);
    }
    char byte = 0;
    ASSERT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 8'000));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself, status " << status;

    // While a file is written, too.
    ASSERT_LE(bytes_in(folder.path()), kBudget);
    SnapshotStore store(folder.path(), kBudget);
    for (const std::string& note : store.take_notes()) {
      ASSERT_NE(note.find("writing was interrupted"), std::string::npos) << note;
      ++num_interrupted;
    }
    ASSERT_EQ(bytes_in(folder.path()), store.used_bytes());
    for (const unsigned written : {round, round / 2}) {
      for (const Tokens& tokens : sequences_of_round(written)) {
        num_loaded += loaded(store, tokens) > 0 ? 1 : 0;
      }
    }
    ASSERT_TRUE(store.take_notes().empty());
    ASSERT_FALSE(::testing::Test::HasFailure()) << "round " << round;
  }
  // The kills did hit the writing, and what had been written was there.
  EXPECT_GT(num_interrupted, 10);
  EXPECT_GT(num_loaded, 1000);
}

}  // namespace
}  // namespace fathom::kv
