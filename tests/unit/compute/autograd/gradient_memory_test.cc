#include "fathom/compute/autograd/gradient_memory.h"

#include <algorithm>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::autograd {
namespace {

TEST(GradientMemory, LiesAsFarBehindItsFrontAsTheNumberBehindTheArenas) {
  tensor::Arena arena(1 << 26);
  platform::ThreadPool pool({.num_threads = 2});
  GradientMemory gradients(arena, pool);
  std::byte* first = arena.allocate(1000);
  std::byte* second = arena.allocate(1000);
  EXPECT_EQ(gradients.mark(second + 8, 8) - gradients.mark(first, 8), second + 8 - first);
  EXPECT_EQ(*reinterpret_cast<double*>(gradients.mark(second, 8)), 0);
}

TEST(GradientMemory, KnowsWhatWasMarked) {
  tensor::Arena arena(1 << 26);
  platform::ThreadPool pool({.num_threads = 2});
  GradientMemory gradients(arena, pool);
  std::byte* first = arena.allocate(1000);
  std::byte* second = arena.allocate(1000);
  EXPECT_FALSE(gradients.is_marked(first, 1000));
  gradients.mark(second + 500, 8);
  EXPECT_TRUE(gradients.is_marked(second, 1000));
  EXPECT_FALSE(gradients.is_marked(second, 400));
  EXPECT_FALSE(gradients.is_marked(first, 1000));
}

TEST(GradientMemory, ClearingForgetsWhatLiesBehindAndNothingElse) {
  tensor::Arena arena(1 << 26);
  platform::ThreadPool pool({.num_threads = 2});
  GradientMemory gradients(arena, pool);
  std::byte* first = arena.allocate(64);
  const Index border = arena.used_bytes();
  std::byte* second = arena.allocate(64);
  for (std::byte* each : {first, second}) {
    *reinterpret_cast<double*>(gradients.mark(each, 64)) = 3;
  }
  gradients.clear_from(border);
  EXPECT_TRUE(gradients.is_marked(first, 64));
  EXPECT_FALSE(gradients.is_marked(second, 64));
  EXPECT_EQ(*reinterpret_cast<double*>(gradients.mark(first, 8)), 3);
  EXPECT_EQ(*reinterpret_cast<double*>(gradients.mark(second, 8)), 0);
}

// Against a plain list of lines, with ranges of all sizes.
TEST(GradientMemory, MarkingZeroesWhatWasNotMarkedAndNothingElse) {
  constexpr Index kLines = 500;
  constexpr Index kLineNumbers = 8;
  tensor::Arena arena(1 << 26);
  platform::ThreadPool pool({.num_threads = 2});
  GradientMemory gradients(arena, pool);
  auto* values = reinterpret_cast<double*>(arena.allocate(kLines * 64));
  std::mt19937 random(5);
  const auto draw = [&](Index end) { return static_cast<Index>(random() % to_size(end)); };
  std::vector<bool> is_marked(to_size(kLines));
  for (int round = 0; round < 2000; ++round) {
    const Index first = draw(kLines);
    const Index count = 1 + draw(std::min<Index>(kLines - first, round % 2 == 0 ? 5 : kLines));
    const auto begin = is_marked.begin() + first;
    EXPECT_EQ(gradients.is_marked(values + first * kLineNumbers, count * 64),
              std::find(begin, begin + count, true) != begin + count);
    if (round % 50 == 49) {
      gradients.clear_from(first * 64);
      std::fill(begin, is_marked.end(), false);
      continue;
    }
    auto* numbers =
        reinterpret_cast<double*>(gradients.mark(values + first * kLineNumbers, count * 64));
    for (Index i = 0; i < count * kLineNumbers; ++i) {
      const Index number = first * kLineNumbers + i;
      ASSERT_EQ(numbers[i],
                is_marked[to_size(number / kLineNumbers)] ? static_cast<double>(number + 1) : 0);
      numbers[i] = static_cast<double>(number + 1);
    }
    std::fill(begin, begin + count, true);
  }
}

TEST(GradientMemory, RemembersWhatItEverTouched) {
  tensor::Arena arena(1 << 26);
  platform::ThreadPool pool({.num_threads = 2});
  GradientMemory gradients(arena, pool);
  std::byte* first = arena.allocate(128);
  const Index border = arena.used_bytes();
  std::byte* second = arena.allocate(256);
  EXPECT_EQ(gradients.touched_bytes(), 0);
  gradients.mark(first, 128);
  gradients.mark(second, 64);
  gradients.mark(second, 64);
  gradients.clear_from(border);
  gradients.mark(second + 64, 64);
  EXPECT_EQ(gradients.touched_bytes(), 256);
}

TEST(GradientMemory, AnAddressOutsideTheArenaIsABug) {
  tensor::Arena arena(1 << 26);
  platform::ThreadPool pool({.num_threads = 2});
  GradientMemory gradients(arena, pool);
  const double elsewhere = 0;
  EXPECT_FALSE(gradients.has(&elsewhere));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "has(value)",
                                  [&] { gradients.mark(&elsewhere, 8); }));
}

}  // namespace
}  // namespace fathom::autograd
