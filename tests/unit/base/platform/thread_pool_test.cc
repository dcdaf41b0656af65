#include "fathom/base/platform/thread_pool.h"

#include <chrono>
#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::platform {
namespace {

class ThreadPools : public ::testing::TestWithParam<int> {
 protected:
  ThreadPool pool_{{.num_threads = GetParam()}};
};

TEST_P(ThreadPools, EveryTileRunsExactlyOnceOnAThreadOfThePool) {
  EXPECT_EQ(pool_.num_threads(), GetParam());
  for (const Index num_tiles : {0, 1, 2, 3, 7, 1000}) {
    std::vector<std::atomic<int>> runs(to_size(num_tiles));
    std::atomic<bool> is_foreign = false;
    pool_.parallel_for(num_tiles, [&](Index tile, int thread_idx) {
      ++runs[to_size(tile)];
      if (thread_idx < 0 || thread_idx >= pool_.num_threads()) {
        is_foreign = true;
      }
    });
    EXPECT_FALSE(is_foreign);
    for (const auto& count : runs) {
      ASSERT_EQ(count, 1);
    }
  }
}

TEST_P(ThreadPools, ManySmallLoopsInARowAllFinish) {
  Index total = 0;
  std::vector<Index> sums(8);
  for (int loop = 0; loop < 2'000; ++loop) {
    pool_.parallel_for(5, [&](Index tile, int /*thread_idx*/) { sums[to_size(tile)] += tile; });
  }
  total = std::accumulate(sums.begin(), sums.end(), Index{0});
  EXPECT_EQ(total, 2'000 * (0 + 1 + 2 + 3 + 4));
}

// Pauses about as long as a worker looks for the next loop before it sleeps, so that loops begin
// while one is falling asleep.
TEST_P(ThreadPools, LoopsAfterPausesFindSleepingAndWakingWorkers) {
  for (int loop = 0; loop < 300; ++loop) {
    std::this_thread::sleep_for(std::chrono::microseconds(loop));
    std::atomic<int> arrived = 0;
    pool_.parallel_for(GetParam(), [&](Index /*tile*/, int /*thread_idx*/) { ++arrived; });
    ASSERT_EQ(arrived, GetParam());
  }
}

// Each tile waits for the others, so a worker that missed the start would hang the loop.
TEST_P(ThreadPools, EveryWorkerWakesForEveryLoop) {
  for (int loop = 0; loop < 200; ++loop) {
    std::this_thread::sleep_for(std::chrono::microseconds(loop * 2));
    std::atomic<int> arrived = 0;
    pool_.parallel_for(GetParam(), [&](Index /*tile*/, int /*thread_idx*/) {
      ++arrived;
      while (arrived < GetParam()) {
        std::this_thread::yield();
      }
    });
    ASSERT_EQ(arrived, GetParam());
  }
}

TEST_P(ThreadPools, WhatATileWroteIsSeenAfterTheLoop) {
  std::vector<Index> values(10'000);
  for (int loop = 0; loop < 50; ++loop) {
    pool_.parallel_for(to_index(values.size()),
                       [&](Index tile, int /*thread_idx*/) { values[to_size(tile)] += tile; });
    ASSERT_EQ(values[9'999], 9'999 * (loop + 1));
    ASSERT_EQ(values[1], loop + 1);
  }
}

TEST_P(ThreadPools, ExceptionOfATileIsThrownByTheLoopAndThePoolGoesOn) {
  for (int loop = 0; loop < 20; ++loop) {
    for (const Index bad : {0, 1, 99}) {
      EXPECT_TRUE(
          testing::fails_with(ErrorCode::InvalidArgument, "tile " + std::to_string(bad), [&] {
            pool_.parallel_for(100, [&](Index tile, int /*thread_idx*/) {
              if (tile == bad) {
                fail(ErrorCode::InvalidArgument, "tile ", tile);
              }
            });
          }));
    }
  }
  std::atomic<Index> count = 0;
  pool_.parallel_for(64, [&](Index /*tile*/, int /*thread_idx*/) { ++count; });
  EXPECT_EQ(count, 64);
}

TEST_P(ThreadPools, WhenEveryTileThrowsOneExceptionArrives) {
  EXPECT_TRUE(testing::fails_with(ErrorCode::Io, "bad", [&] {
    pool_.parallel_for(50, [](Index /*tile*/, int /*thread_idx*/) { fail(ErrorCode::Io, "bad"); });
  }));
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPools, ::testing::Values(1, 2, 3, 5));

TEST(ThreadPool, ZeroThreadsMeansOnePerAvailableProcessor) {
  EXPECT_GE(available_processors(), 1);
  const ThreadPool pool;
  EXPECT_EQ(pool.num_threads(), available_processors());
}

TEST(ThreadPool, PinnedThreadsRunEveryTile) {
  ThreadPool pool({.num_threads = 3, .pin_to_cores = true});
  std::atomic<Index> sum = 0;
  pool.parallel_for(100, [&](Index tile, int /*thread_idx*/) { sum += tile; });
  EXPECT_EQ(sum, 4950);
}

TEST(ThreadPool, PoolsThatNeverRanAnythingStopToo) {
  for (int i = 0; i < 100; ++i) {
    const ThreadPool pool({.num_threads = 4});
  }
}

TEST(ThreadPool, SeveralThreadsDoWorkAtTheSameTime) {
  ThreadPool pool({.num_threads = 3});
  std::atomic<int> arrived = 0;
  // Each tile waits for the others: one thread alone would never finish.
  pool.parallel_for(3, [&](Index /*tile*/, int /*thread_idx*/) {
    ++arrived;
    while (arrived < 3) {
      std::this_thread::yield();
    }
  });
  EXPECT_EQ(arrived, 3);
}

TEST(ThreadPool, AbsurdNumbersOfThreadsAreRefused) {
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "expected 0 to 4096, found -1",
                                  [] { ThreadPool({.num_threads = -1}); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "found 4097",
                                  [] { ThreadPool({.num_threads = 4097}); }));
}

}  // namespace
}  // namespace fathom::platform
