#include "fathom/compute/ops/compress_pool.h"

#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

constexpr Index kTokens = 4;  // of a block
constexpr Index kWidth = 3;   // of a pooled row
constexpr Index kInput = 12;  // values and gates, each for the next block and the current one

class CompressPool : public OpTest {
 protected:
  std::vector<float> pool(const std::vector<float>& input,
                          Index first,
                          Index count,
                          bool has_overlap = true,
                          Index width = kInput,
                          Index block = kTokens) {
    const PagedTestRows rows(width, input);
    return numbers(compress_pool(context(), rows.rows(), first, count, block, has_overlap));
  }
};

TEST_F(CompressPool, FirstBlockIsPlainPoolingOfTheSecondHalf) {
  const auto input = random(kTokens * kInput);
  std::vector<float> second_half;
  for (Index token = 0; token < kTokens; ++token) {
    const auto row = input.begin() + token * kInput;
    second_half.insert(second_half.end(), row + kWidth, row + 2 * kWidth);
    second_half.insert(second_half.end(), row + 3 * kWidth, row + 4 * kWidth);
  }
  EXPECT_EQ(pool(input, 0, 1), pool(second_half, 0, 1, false, 2 * kWidth));
}

TEST_F(CompressPool, BlockDependsOnItsTokensAndTheBlockBeforeOnly) {
  const auto input = random(5 * kTokens * kInput);
  const auto before = pool(input, 0, 5);
  auto changed = input;
  for (Index i = 1 * kTokens * kInput; i < 2 * kTokens * kInput; ++i) {
    changed[to_size(i)] += 1 + static_cast<float>(i % 3);
  }
  const auto after = pool(changed, 0, 5);
  for (Index block = 0; block < 5; ++block) {
    const bool is_changed =
        !std::equal(before.begin() + block * kWidth, before.begin() + (block + 1) * kWidth,
                    after.begin() + block * kWidth);
    EXPECT_EQ(is_changed, block == 1 || block == 2) << block;
  }
}

TEST_F(CompressPool, WithoutOverlapABlockDependsOnItsTokensOnly) {
  constexpr Index kLong = 128;
  const auto input = random(3 * kLong * 2);
  auto changed = input;
  changed[to_size(kLong * 2 + 10)] += 1;
  const auto before = pool(input, 0, 3, false, 2, kLong);
  const auto after = pool(changed, 0, 3, false, 2, kLong);
  EXPECT_EQ(before[0], after[0]);
  EXPECT_NE(before[1], after[1]);
  EXPECT_EQ(before[2], after[2]);
}

TEST_F(CompressPool, EqualGatesGiveTheMeanAndOneHugeGateItsValue) {
  // [value, gate] of four tokens.
  EXPECT_EQ(pool({1, 7, 2, 7, 3, 7, 6, 7}, 0, 1, false, 2), (std::vector<float>{3}));
  EXPECT_EQ(pool({1, 7, 2, 500, 3, 7, 6, 7}, 0, 1, false, 2), (std::vector<float>{2}));
}

TEST_F(CompressPool, EqualGatesWithOverlapGiveTheMeanOfBothBlocks) {
  // [next, current | gates] of two blocks of two tokens: the first half of block 0, the second
  // of 1.
  const std::vector<float> input = {1, 100, 0, 0, 3, 100, 0, 0, 100, 5, 0, 0, 100, 7, 0, 0};
  EXPECT_EQ(pool(input, 1, 1, true, 4, 2), (std::vector<float>{4}));
}

TEST_F(CompressPool, BiasIsAddedToGatesByPlaceInTheBlock) {
  const auto rows = make({3, 4}, std::vector<float>(12));
  const std::vector<float> bias = {1, 2, 10, 20};  // two places, two gates
  const std::vector<Index> positions = {4, 7, 6};
  add_position_bias(context(), rows, positions, bias, 2);
  EXPECT_EQ(numbers(rows), (std::vector<float>{0, 0, 1, 2, 0, 0, 10, 20, 0, 0, 1, 2}));
}

TEST_F(CompressPool, BlocksThatAreNotClosedAreABug) {
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "block_tokens",
                                  [&] { pool(random(7 * kInput), 1, 1); }));
}

TEST(CompressPoolGradient, MeetsCentralDifferencesWithAndWithoutOverlap) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    testing::GradientCheck check(seed);
    const bool has_overlap = seed % 2 == 0;
    const Index block = check.between(1, 5);
    const Index width = check.between(1, 3) * (has_overlap ? 2 : 1);
    const Index blocks = check.between(1, 4);
    // Some tokens of a block that is not closed yet; more than one page of rows.
    const Index tokens = blocks * block + check.between(0, block - 1);
    const auto rows = check.add_value("rows", {tokens, 2 * width});
    const auto& bias = check.add_parameter("bias", block, width);
    std::vector<Index> positions(to_size(tokens));
    std::iota(positions.begin(), positions.end(), 0);
    EXPECT_TRUE(check.check([&](Context& context) {
      add_position_bias(context, check.value(rows), positions, bias.numbers, block);
      const testing::RowsOf paged(context.arena, check.value(rows));
      return std::vector{compress_pool(context, paged.view(), 0, blocks, block, has_overlap)};
    })) << "seed "
        << seed;
  }
}

}  // namespace
}  // namespace fathom::ops
