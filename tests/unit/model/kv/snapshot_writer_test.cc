#include "fathom/model/kv/snapshot_writer.h"

#include <csignal>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/support/temp_dir.h"
#include "tests/unit/model/kv/snapshot_testing.h"

namespace fathom::kv {
namespace {

using testing::cache_of;
using testing::empty_cache;
using testing::extend;
using testing::fast_folder;
using testing::is_cache_of;
using testing::random_tokens;
using testing::Tokens;

constexpr Index kPlenty = Index{1} << 30;
const SnapshotKey kKey = {.fingerprint = "model"};

Tokens first(const Tokens& tokens, Index count) {
  return {tokens.begin(), tokens.begin() + count};
}

Index loaded(SnapshotStore& store, const Tokens& prompt) {
  const auto match = store.find(kKey, prompt);
  SequenceCache cache = empty_cache();
  if (!match || !store.load(*match, cache)) {
    return 0;
  }
  EXPECT_TRUE(is_cache_of(cache, first(prompt, match->num_tokens)));
  return cache.num_tokens();
}

// Every turn goes back and on with other tokens, into the pages that still wait to be written.
TEST(SnapshotWriter, WritesWhatItTookWhileTheSequenceGoesElsewhere) {
  std::mt19937 random(1);
  test::TempDir folder(fast_folder());
  SnapshotStore store(folder.path(), kPlenty);
  SnapshotWriter writer(store, 100);
  const Tokens base = random_tokens(random, 700);
  SequenceCache cache = cache_of(base);
  std::vector<Tokens> sequences;
  for (int turn = 0; turn < 60; ++turn) {
    Tokens tokens = base;
    for (const std::int32_t token : random_tokens(random, 5 + turn % 20)) {
      tokens.push_back(token);
    }
    extend(cache, tokens);
    EXPECT_TRUE(writer.submit(kKey, tokens, cache.thinned({})));
    ASSERT_EQ(cache.truncate(700), 700);
    sequences.push_back(std::move(tokens));
  }
  writer.flush();
  EXPECT_EQ(writer.stats().num_written, 60U);
  for (const Tokens& tokens : sequences) {
    EXPECT_EQ(loaded(store, tokens), to_index(tokens.size()));
  }
  EXPECT_TRUE(is_cache_of(cache, base));
  EXPECT_TRUE(writer.take_notes().empty());
}

TEST(SnapshotWriter, WhatGoesOnFromASequenceThatWaitsTakesItsPlace) {
  std::mt19937 random(4);
  test::TempDir folder(fast_folder());
  SnapshotStore store(folder.path(), kPlenty);
  SnapshotWriter writer(store, 100);
  const Tokens tokens = random_tokens(random, 900);
  SequenceCache cache = empty_cache();
  std::uint64_t num_submitted = 0;
  for (Index count = 10; count <= 900; count += 10) {
    extend(cache, first(tokens, count));
    EXPECT_TRUE(writer.submit(kKey, first(tokens, count), cache));
    ++num_submitted;
  }
  writer.flush();
  const SnapshotWriter::Stats stats = writer.stats();
  EXPECT_EQ(stats.num_written + stats.num_replaced, num_submitted);
  EXPECT_EQ(loaded(store, tokens), 900);
}

TEST(SnapshotWriter, RefusesWhatWouldWaitTooLongAndReplacesWhatIsOutdated) {
  std::mt19937 random(2);
  test::TempDir folder;
  SnapshotStore store(folder.path(), kPlenty);
  SnapshotWriter writer(store, 1);
  const Tokens big = random_tokens(random, 1500);
  const SequenceCache cache = cache_of(big);
  std::uint64_t num_taken = 0;
  std::uint64_t num_refused = 0;
  for (int i = 0; i < 50; ++i) {
    const Tokens small(10, i);
    const bool is_taken =
        i % 2 == 0 ? writer.submit(kKey, big, cache) : writer.submit(kKey, small, cache_of(small));
    (is_taken ? num_taken : num_refused) += 1;
  }
  writer.flush();
  const SnapshotWriter::Stats stats = writer.stats();
  EXPECT_EQ(stats.num_refused, num_refused);
  EXPECT_EQ(stats.num_written + stats.num_already_there + stats.num_replaced, num_taken);
  EXPECT_GE(num_taken, 1U);
}

TEST(SnapshotWriter, WhatWaitsIsDroppedOnDemandAndAtTheEnd) {
  std::mt19937 random(3);
  test::TempDir folder;
  SnapshotStore store(folder.path(), kPlenty);
  const Tokens tokens = random_tokens(random, 100);
  {
    SnapshotWriter writer(store, 10);
    for (int i = 0; i < 10; ++i) {
      const Tokens each(20, i);
      writer.submit(kKey, each, cache_of(each));
    }
    writer.drop_waiting();
    writer.flush();
    const SnapshotWriter::Stats stats = writer.stats();
    EXPECT_EQ(stats.num_written + stats.num_dropped, 10U);
    EXPECT_EQ(store.num_snapshots(), static_cast<Index>(stats.num_written));
    writer.submit(kKey, tokens, cache_of(tokens));
    writer.flush();
    EXPECT_EQ(loaded(store, tokens), 100);
    writer.submit(kKey, Tokens(20, 11), cache_of(Tokens(20, 11)));
  }
  EXPECT_EQ(loaded(store, tokens), 100);
}

// A limit on the size of files stands for a full disk: the reservation fails the same way.
TEST(SnapshotWriter, AFullDiskIsNotedAndTheNextIsTriedAgain) {
  test::TempDir folder;
  SnapshotStore store(folder.path(), kPlenty);
  SnapshotWriter writer(store, 10);
  const Tokens many(300, 8);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{8192, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_TRUE(writer.submit(kKey, many, cache_of(many)));
  writer.flush();
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(writer.stats().num_failed, 1U);
  ASSERT_EQ(writer.take_notes().size(), 1U);
  EXPECT_TRUE(writer.submit(kKey, many, cache_of(many)));
  writer.flush();
  EXPECT_EQ(writer.stats().num_written, 1U);
  EXPECT_EQ(loaded(store, many), 300);
}

}  // namespace
}  // namespace fathom::kv
