#include "fathom/model/kv/page_pool.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::kv {
namespace {

constexpr Index kBlock = PagePool::kBlockBytes;

TEST(PagePool, PagesAreAlignedWritableAndDoNotOverlap) {
  PagePool pool;
  std::mt19937 random(1);
  struct Held {
    PageShare page;
    Index num_bytes;
    int mark;
  };
  std::vector<Held> held;
  for (int step = 0; step < 5000; ++step) {
    if (held.size() < 200 && random() % 3 != 0) {
      const Index num_bytes = std::vector<Index>{1, 100, 4096, 65'536}[random() % 4];
      PageShare page = pool.allocate(num_bytes);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(page.data()) % PagePool::kAlignment_bytes, 0U);
      const int mark = static_cast<int>(random() % 128);
      std::memset(page.data(), mark, to_size(num_bytes));
      held.push_back({std::move(page), num_bytes, mark});
    } else if (!held.empty()) {
      std::swap(held[random() % held.size()], held.back());
      const Held& last = held.back();
      const auto* bytes = reinterpret_cast<const char*>(last.page.data());
      ASSERT_EQ(std::count(bytes, bytes + last.num_bytes, static_cast<char>(last.mark)),
                last.num_bytes);
      held.pop_back();
    }
  }
}

TEST(PagePool, WhatWasGivenBackIsHandedOutAgain) {
  PagePool pool;
  std::vector<PageShare> pages;
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 100; ++i) {
      pages.push_back(pool.allocate(100'000));
    }
    pages.clear();
  }
  // 100 pages of 100 kB, in blocks of which each wastes less than one.
  EXPECT_LE(pool.held_bytes(), 3 * kBlock);
}

TEST(PagePool, AnEmptyBlockServesPagesOfAnotherSize) {
  PagePool pool;
  std::vector<PageShare> pages;
  for (const Index num_bytes : {1000, 50'000, 64, 300'000}) {
    for (Index sum = 0; sum + num_bytes <= 2 * kBlock - 300'000; sum += num_bytes) {
      pages.push_back(pool.allocate(num_bytes));
    }
    EXPECT_LE(pool.held_bytes(), 3 * kBlock) << num_bytes;
    pages.clear();
  }
}

TEST(PagePool, NoMoreIsKeptThanAllowed) {
  PagePool pool(2 * kBlock);
  std::vector<PageShare> pages;
  for (int i = 0; i < 100; ++i) {
    pages.push_back(pool.allocate(kBlock / 8));
  }
  EXPECT_GE(pool.held_bytes(), 12 * kBlock);
  const PageShare kept = pages.front();
  pages.clear();
  EXPECT_LE(pool.held_bytes(), 3 * kBlock);
  EXPECT_GE(pool.held_bytes(), 2 * kBlock);
  PagePool none(0);
  none.allocate(10);
  EXPECT_EQ(none.held_bytes(), 0);
}

TEST(PagePool, APageGoesBackWithItsLastShare) {
  PagePool pool(0);
  PageShare first = pool.allocate(10);
  EXPECT_FALSE(first.is_shared());
  PageShare second = first;
  EXPECT_TRUE(first.is_shared());
  EXPECT_EQ(first.data(), second.data());
  first = PageShare();
  EXPECT_TRUE(first.is_empty());
  EXPECT_EQ(first.data(), nullptr);
  EXPECT_FALSE(second.is_shared());
  EXPECT_GT(pool.held_bytes(), 0);
  PageShare third = std::move(second);
  second = third;
  third = third;  // NOLINT(clang-diagnostic-self-assign-overloaded): must not lose the page
  EXPECT_TRUE(third.is_shared());
  second = third = PageShare();
  EXPECT_EQ(pool.held_bytes(), 0);
}

TEST(PagePool, LargePagesHaveBlocksOfTheirOwn) {
  PagePool pool(0);
  const PageShare page = pool.allocate(3 * kBlock);
  std::memset(page.data(), 1, to_size(3 * kBlock));
  EXPECT_GE(pool.held_bytes(), 3 * kBlock);
}

TEST(PagePool, WhatTheSystemDoesNotGrantIsOutOfMemoryAndThePoolGoesOn) {
  PagePool pool(0);
  EXPECT_TRUE(testing::fails_with(ErrorCode::OutOfMemory, "does not grant",
                                  [&] { pool.allocate(Index{1} << 55); }));
  EXPECT_EQ(pool.held_bytes(), 0);
  EXPECT_FALSE(pool.allocate(100).is_empty());
}

TEST(PagePool, ThreadsMayTakeAndGiveBackAtTheSameTime) {
  PagePool pool(kBlock);
  std::vector<std::thread> threads;
  const PageShare common = pool.allocate(1000);
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&pool, &common, thread] {
      std::vector<PageShare> pages;
      for (int step = 0; step < 2000; ++step) {
        pages.push_back(step % 3 == 0 ? common : pool.allocate(1000 * (1 + step % 2)));
        if (step % 3 != 0) {
          pages.back().data()[0] = static_cast<std::byte>(thread);
        }
        if (pages.size() > 50) {
          pages.erase(pages.begin(), pages.begin() + 25);
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_FALSE(common.is_shared());
}

TEST(PagePool, UsedBytesAreThoseOfPagesThatSomeoneShares) {
  PagePool pool;
  EXPECT_EQ(pool.used_bytes(), 0);
  {
    const PageShare page = pool.allocate(100);
    const PageShare share = page;
    EXPECT_EQ(pool.used_bytes(), 128);
    const PageShare other = pool.allocate(4096);
    EXPECT_EQ(pool.used_bytes(), 128 + 4096);
  }
  EXPECT_EQ(pool.used_bytes(), 0);
  EXPECT_GT(pool.held_bytes(), 0);
}

}  // namespace
}  // namespace fathom::kv
