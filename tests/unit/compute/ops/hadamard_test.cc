#include "fathom/compute/ops/hadamard.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

class Hadamard : public OpTest {};

TEST_F(Hadamard, GoldenBitForBitInOfficialRounding) {
  use(kOfficial);
  const auto x = make({64, 128}, golden_bf16("hadamard.in"));
  hadamard(context(), x, 128);
  EXPECT_EQ(numbers(x), golden_bf16("hadamard.out"));
}

TEST_F(Hadamard, TwiceIsTheIdentity) {
  const auto values = random(256);
  const auto x = make({2, 128}, values);
  hadamard(context(), x, 128);
  hadamard(context(), x, 128);
  EXPECT_TRUE(testing::all_within(numbers(x), values, 2e-6));
}

TEST_F(Hadamard, FirstUnitVectorBecomesConstantAndTheSecondAlternates) {
  std::vector<float> units(8);
  units[0] = units[5] = 1;
  const auto x = make({2, 4}, units);
  hadamard(context(), x, 4);
  EXPECT_EQ(numbers(x), (std::vector<float>{0.5F, 0.5F, 0.5F, 0.5F, 0.5F, -0.5F, 0.5F, -0.5F}));
}

TEST_F(Hadamard, HeadsOfOneTokenAreTransformedEachOnItsOwn) {
  const auto x = make({1, 2, 2}, {1, 0, 0, 2});
  hadamard(context(), x, 2);
  const double root = 0.70710678;
  EXPECT_TRUE(
      testing::all_within(numbers(x), std::vector<double>{root, root, 2 * root, -2 * root}, 1e-6));
}

TEST_F(Hadamard, WidthsThatAreNoPowerOfTwoAreABug) {
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "has_single_bit", [&] {
    hadamard(context(), make({1, 12}, random(12)), 12);
  }));
}

TEST(HadamardGradient, MeetsCentralDifferences) {
  for (const Index width : {1, 2, 8, 32}) {
    testing::GradientCheck check(to_size(width));
    const auto x = check.add_value("x", {2, 2 * width});
    EXPECT_TRUE(check.check([&](Context& context) {
      hadamard(context, check.value(x), width);
      return std::vector{check.value(x)};
    })) << width;
  }
}

}  // namespace
}  // namespace fathom::ops
