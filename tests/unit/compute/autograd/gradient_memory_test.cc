#include "fathom/compute/autograd/gradient_memory.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::autograd {
namespace {

TEST(GradientMemory, LiesAsFarBehindItsFrontAsTheNumberBehindTheArenas) {
  tensor::Arena arena(1 << 26);
  GradientMemory gradients(arena);
  std::byte* first = arena.allocate(1000);
  std::byte* second = arena.allocate(1000);
  EXPECT_EQ(gradients.at(second + 8, 8) - gradients.at(first, 8), second + 8 - first);
  EXPECT_EQ(*reinterpret_cast<double*>(gradients.at(second, 8)), 0);
}

TEST(GradientMemory, KnowsWhatWasMarked) {
  tensor::Arena arena(1 << 26);
  GradientMemory gradients(arena);
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
  GradientMemory gradients(arena);
  std::byte* first = arena.allocate(64);
  const Index border = arena.used_bytes();
  std::byte* second = arena.allocate(64);
  for (std::byte* each : {first, second}) {
    gradients.mark(each, 64);
    *reinterpret_cast<double*>(gradients.at(each, 8)) = 3;
  }
  gradients.clear_from(border);
  EXPECT_EQ(*reinterpret_cast<double*>(gradients.at(first, 8)), 3);
  EXPECT_EQ(*reinterpret_cast<double*>(gradients.at(second, 8)), 0);
  EXPECT_TRUE(gradients.is_marked(first, 64));
  EXPECT_FALSE(gradients.is_marked(second, 64));
}

TEST(GradientMemory, AnAddressOutsideTheArenaIsABug) {
  tensor::Arena arena(1 << 26);
  GradientMemory gradients(arena);
  const double elsewhere = 0;
  EXPECT_FALSE(gradients.has(&elsewhere));
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::Internal, "has(value)", [&] { gradients.at(&elsewhere, 8); }));
}

}  // namespace
}  // namespace fathom::autograd
