#include "fathom/compute/ops/rms_norm.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

class RmsNorm : public OpTest {};

TEST_F(RmsNorm, DividesByTheRootMeanSquareAndWeighs) {
  const std::vector<float> weight = {1, 10};
  const auto out = rms_norm(context(), make({2, 2}, {3, 4, 300, 400}), weight, 0);
  const double root = std::sqrt(12.5);
  EXPECT_TRUE(testing::all_within(
      numbers(out), std::vector<double>{3 / root, 40 / root, 3 / root, 40 / root}, 1e-5));
}

TEST_F(RmsNorm, ZeroRowStaysZeroInsteadOfBecomingNan) {
  const std::vector<float> weight(4, 1);
  EXPECT_EQ(numbers(rms_norm(context(), make({1, 4}, std::vector<float>(4)), weight, 1e-6)),
            std::vector<float>(4));
}

TEST_F(RmsNorm, WeightMultipliesBeforeTheOneRounding) {
  use(kOfficial);
  // mean square 1: 1.0039... is half way above 1 in BF16; times 1.5 it is not.
  const std::vector<float> weight = {1.5F, 1};
  const auto out =
      numbers(rms_norm(context(), make({1, 2}, {1.00390625F, 0.99607849F}), weight, 0));
  EXPECT_EQ(out[0], numeric::round_bf16(1.50585938F));
  EXPECT_NE(out[0], 1.5F * numeric::round_bf16(1.00390625F));
}

TEST_F(RmsNorm, HeadsAreNormedEachOnItsOwn) {
  const auto x = make({1, 4}, {3, 4, 30, 40});
  head_norm(context(), x, 2, 0);
  const double root = std::sqrt(12.5);
  EXPECT_TRUE(testing::all_within(
      numbers(x), std::vector<double>{3 / root, 4 / root, 3 / root, 4 / root}, 1e-6));
}

TEST_F(RmsNorm, OfficialHeadNormRoundsEveryStep) {
  use(kOfficial);
  const std::vector<float> values = {1.1015625F, 0.5F, -2.015625F, 0.25F};
  const auto bf16 = [](double value) {
    return static_cast<double>(numeric::round_bf16(static_cast<float>(value)));
  };
  double sum = 0;
  for (const float value : values) {
    sum += bf16(static_cast<double>(value) * static_cast<double>(value));
  }
  const double factor = bf16(1 / std::sqrt(bf16(bf16(sum / 4) + 1e-6)));
  std::vector<double> expected;
  for (const float value : values) {
    expected.push_back(bf16(static_cast<double>(value) * factor));
  }
  const auto x = make({1, 4}, values);
  head_norm(context(), x, 4, 1e-6);
  EXPECT_TRUE(testing::all_within(numbers(x), expected, 0));
}

TEST(RmsNormGradient, MeetsCentralDifferences) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    testing::GradientCheck check(seed);
    const Index width = check.between(1, 40);
    const auto x = check.add_value("x", {check.between(1, 4), width});
    const auto& weight = check.add_parameter("weight", 1, width);
    EXPECT_TRUE(check.check([&](Context& context) {
      return std::vector{rms_norm(context, check.value(x), weight.numbers, 0.01)};
    })) << "seed "
        << seed;
  }
}

TEST(RmsNormGradient, OfAFrozenWeightIsNotAskedFor) {
  testing::GradientCheck check(1);
  const auto x = check.add_value("x", {3, 5});
  const auto& weight = check.add_parameter("weight", 1, 5, 1, false);
  EXPECT_TRUE(check.check([&](Context& context) {
    return std::vector{rms_norm(context, check.value(x), weight.numbers, 0.01)};
  }));
}

TEST(HeadNormGradient, MeetsCentralDifferencesThoughTheOpOverwritesItsOperand) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    testing::GradientCheck check(seed);
    const Index width = check.between(1, 20);
    const auto x = check.add_value("x", {check.between(1, 3), check.between(1, 3) * width});
    EXPECT_TRUE(check.check([&](Context& context) {
      head_norm(context, check.value(x), width, 0.01);
      return std::vector{check.value(x)};
    })) << "seed "
        << seed;
  }
}

}  // namespace
}  // namespace fathom::ops
