#include "fathom/compute/ops/hyper_connection.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

constexpr double kGoldenLimit = 2.5e-7;  // golden README

class HyperConnection : public OpTest {
 protected:
  // Control numbers of mixes m that need no norm: streams of ones have a mean square of 1.
  HyperControl control_of(const std::vector<float>& mixes,
                          Index num_streams,
                          const std::vector<float>& scale,
                          const std::vector<float>& base,
                          Index iterations = 20) {
    const Index count = num_streams * (2 + num_streams);
    const Index rows = to_index(mixes.size()) / count;
    const auto streams =
        make({rows, num_streams, 8}, std::vector<float>(to_size(rows * num_streams * 8), 1));
    return hyper_control(context(), make({rows, count}, mixes), streams,
                         {.scale = scale,
                          .base = base,
                          .epsilon = 1e-6,
                          .norm_epsilon = 0,
                          .iterations = iterations});
  }
};

TEST_F(HyperConnection, GoldenSinkhornWithinItsTolerance) {
  const auto control =
      control_of(golden().read<float>("sinkhorn.mixes"), 4, golden().read<float>("sinkhorn.scale"),
                 golden().read<float>("sinkhorn.base"));
  EXPECT_TRUE(testing::all_within(numbers(control.pre), golden().read<float>("sinkhorn.pre"),
                                  kGoldenLimit));
  EXPECT_TRUE(testing::all_within(numbers(control.post), golden().read<float>("sinkhorn.post"),
                                  kGoldenLimit));
  EXPECT_TRUE(testing::all_within(numbers(control.comb), golden().read<float>("sinkhorn.comb"),
                                  kGoldenLimit));
}

TEST_F(HyperConnection, TheSpecificationsExample) {
  std::vector<float> mixes;
  std::vector<float> base;
  for (int k = 0; k < 24; ++k) {
    mixes.push_back(0.3F * static_cast<float>(7 * k % 11 - 5));
    base.push_back(0.1F * static_cast<float>(5 * k % 7 - 3));
  }
  const auto control = control_of(mixes, 4, {0.5F, 0.25F, 2}, base);
  const std::vector<double> pre = {.25922610, .62246033, .42555848, .63413659};
  const std::vector<double> post = {1.18533320, .93758125, 1.09966799, .85111497};
  const std::vector<double> comb = {
      .12501785, .54463022, .20532941, .12502139, .27409338, .00162458, .45018966, .27409144,
      .10347901, .45079615, .34224152, .10348221, .49740877, .00294805, .00223841, .49740395};
  EXPECT_TRUE(testing::all_within(numbers(control.pre), pre, 4 * kGoldenLimit));
  EXPECT_TRUE(testing::all_within(numbers(control.post), post, 4 * kGoldenLimit));
  EXPECT_TRUE(testing::all_within(numbers(control.comb), comb, 4 * kGoldenLimit));
}

TEST_F(HyperConnection, MixIsNonnegativeItsColumnsSumToOneAndItsRowsNearlySo) {
  for (const Index n : {2, 4, 5}) {
    const Index count = n * (2 + n);
    const auto control = control_of(random(20 * count), n, {1, 1, 1}, random(count));
    const auto comb = numbers(control.comb);
    for (const float value : comb) {
      EXPECT_GE(value, 0);
    }
    for (Index matrix = 0; matrix < 20; ++matrix) {
      for (Index i = 0; i < n; ++i) {
        double column = 0;
        double row = 0;
        for (Index j = 0; j < n; ++j) {
          column += static_cast<double>(comb[to_size((matrix * n + j) * n + i)]);
          row += static_cast<double>(comb[to_size((matrix * n + i) * n + j)]);
        }
        EXPECT_NEAR(column, 1, 2e-6 * static_cast<double>(n));
        EXPECT_NEAR(row, 1, 0.05);
      }
    }
    for (const float pre : numbers(control.pre)) {
      EXPECT_TRUE(pre > 0 && pre < 1 + 2e-6F) << pre;
    }
    for (const float post : numbers(control.post)) {
      EXPECT_TRUE(post > 0 && post < 2) << post;
    }
  }
}

TEST_F(HyperConnection, MoreIterationsBringRowSumsNearerToOne) {
  const auto mixes = random(24);
  double previous = INFINITY;
  for (const Index iterations : {1, 3, 10}) {
    const auto comb =
        numbers(control_of(mixes, 4, {1, 1, 3}, std::vector<float>(24), iterations).comb);
    double worst = 0;
    for (std::size_t row = 0; row < 4; ++row) {
      const double sum = static_cast<double>(comb[4 * row] + comb[4 * row + 1] + comb[4 * row + 2] +
                                             comb[4 * row + 3]);
      worst = std::max(worst, std::abs(sum - 1));
    }
    EXPECT_TRUE(worst < previous) << worst << " after " << iterations;
    previous = worst;
  }
}

TEST_F(HyperConnection, UniformLogitsMixAQuarterOfEach) {
  const auto control =
      control_of(std::vector<float>(24), 4, {1, 1, 1}, std::vector<float>(24, 0.7F));
  EXPECT_TRUE(testing::all_within(numbers(control.comb), std::vector<double>(16, 0.25), 1e-6));
}

TEST_F(HyperConnection, ControlDividesByTheRootMeanSquareOfAllStreams) {
  const auto products = random(24);
  std::vector<float> base = random(24);
  const HyperParameters parameters = {
      .scale = base, .base = base, .epsilon = 1e-6, .norm_epsilon = 1e-6, .iterations = 20};
  auto scaled = parameters;
  const std::vector<float> scale = {0.5F, 0.6F, 0.7F};
  scaled.scale = scale;
  // Products and streams twice as large: the same mixes.
  auto doubled = products;
  for (float& product : doubled) {
    product *= 2;
  }
  const auto one = hyper_control(context(), make({1, 24}, products),
                                 make({1, 4, 8}, std::vector<float>(32, 3)), scaled);
  const auto two = hyper_control(context(), make({1, 24}, doubled),
                                 make({1, 4, 8}, std::vector<float>(32, -6)), scaled);
  EXPECT_TRUE(testing::all_within(numbers(one.comb), numbers(two.comb), 1e-6));
  EXPECT_TRUE(testing::all_within(numbers(one.pre), numbers(two.pre), 1e-6));
}

TEST_F(HyperConnection, WithoutOutputEqualStreamsStayAsTheyAre) {
  const auto control = control_of(random(24), 4, {1, 1, 1}, random(24));
  const auto one = random(8);
  std::vector<float> values;
  for (int j = 0; j < 4; ++j) {
    values.insert(values.end(), one.begin(), one.end());
  }
  const auto streams = make({1, 4, 8}, values);
  hyper_merge(context(), streams, control, make({1, 8}, std::vector<float>(8)));
  EXPECT_TRUE(testing::all_within(numbers(streams), values, 2e-5));
}

TEST_F(HyperConnection, MergeSumsOverTheSourceAndAddsTheOutputByPost) {
  const HyperControl control = {make({1, 2}, {0, 0}), make({1, 2}, {2, 3}),
                                make({1, 2, 2}, {1, 10, 100, 1000})};
  const auto streams = make({1, 2, 1}, {1, 2});
  hyper_merge(context(), streams, control, make({1, 1}, {0.5F}));
  // Destination 0: 2 * 0.5 + 1 * 1 + 100 * 2; destination 1: 3 * 0.5 + 10 * 1 + 1000 * 2.
  EXPECT_EQ(numbers(streams), (std::vector<float>{202, 2011.5F}));
}

TEST_F(HyperConnection, CollapseWeighsStreams) {
  const auto out =
      hyper_collapse(context(), make({1, 2, 2}, {1, 2, 30, 40}), make({1, 2}, {2, 0.5F}));
  EXPECT_EQ(numbers(out), (std::vector<float>{17, 24}));
}

TEST_F(HyperConnection, AddToStreamsGivesEveryStreamTheSame) {
  const auto each = make({2, 2, 1}, {1, 2, 3, 4});
  add_to_streams(context(), make({2, 1}, {10, 20}), each);
  EXPECT_EQ(numbers(each), (std::vector<float>{11, 12, 23, 24}));
}

TEST_F(HyperConnection, HeadWeightsAreThePreOfOneScale) {
  const std::vector<float> scale = {2};
  const std::vector<float> base = {0.5F, -1};
  const auto weights = hyper_head_weights(
      context(), make({1, 2}, {1, -3}), make({1, 2, 4}, std::vector<float>(8, 1)),
      {.scale = scale, .base = base, .epsilon = 1e-6, .norm_epsilon = 0, .iterations = 20});
  const std::vector<double> expected = {1 / (1 + std::exp(-2.5)) + 1e-6,
                                        1 / (1 + std::exp(7.0)) + 1e-6};
  EXPECT_TRUE(testing::all_within(numbers(weights), expected, 1e-7));
}

TEST_F(HyperConnection, WrongShapesAreNamed) {
  const std::vector<float> three(3);
  const std::vector<float> base(24);
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::Internal, "products has shape [1, 23], expected [1, 24]", [&] {
        hyper_control(context(), make({1, 23}, random(23)), make({1, 4, 8}, random(32)),
                      {three, base, 1e-6, 1e-6, 20});
      }));
}

TEST(HyperConnectionGradient, MeetsCentralDifferencesThroughMixAndMerge) {
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    testing::GradientCheck check(seed);
    const Index n = check.between(1, 4);
    const Index tokens = check.between(1, 2);
    const Index width = check.between(1, 5);
    const auto streams = check.add_value("streams", {tokens, n, width});
    const auto products = check.add_value("products", {tokens, n * (2 + n)});
    const auto y = check.add_value("y", {tokens, width});
    const auto& scale = check.add_parameter("scale", 1, 3);
    const auto& base = check.add_parameter("base", 1, n * (2 + n));
    const HyperParameters parameters = {.scale = scale.numbers,
                                        .base = base.numbers,
                                        .epsilon = 1e-3,
                                        .norm_epsilon = 1e-2,
                                        .iterations = check.between(1, 20)};
    EXPECT_TRUE(check.check([&](Context& context) {
      const HyperControl control =
          hyper_control(context, check.value(products), check.value(streams), parameters);
      const tensor::Tensor input = hyper_collapse(context, check.value(streams), control.pre);
      hyper_merge(context, check.value(streams), control, check.value(y));
      return std::vector{input, check.value(streams)};
    })) << "seed "
        << seed;
  }
}

TEST(HyperConnectionGradient, OfTheHeadMeetsCentralDifferences) {
  testing::GradientCheck check(2);
  const auto streams = check.add_value("streams", {2, 3, 4});
  const auto products = check.add_value("products", {2, 3});
  const auto& scale = check.add_parameter("scale", 1, 1);
  const auto& base = check.add_parameter("base", 1, 3);
  const HyperParameters parameters = {.scale = scale.numbers,
                                      .base = base.numbers,
                                      .epsilon = 1e-3,
                                      .norm_epsilon = 1e-2,
                                      .iterations = 3};
  EXPECT_TRUE(check.check([&](Context& context) {
    const tensor::Tensor weights =
        hyper_head_weights(context, check.value(products), check.value(streams), parameters);
    return std::vector{hyper_collapse(context, check.value(streams), weights)};
  }));
}

TEST(HyperConnectionGradient, OfAddingToStreamsMeetsCentralDifferences) {
  testing::GradientCheck check(2);
  const auto shared = check.add_value("shared", {2, 4});
  const auto each = check.add_value("each", {2, 3, 4});
  EXPECT_TRUE(check.check([&](Context& context) {
    add_to_streams(context, check.value(shared), check.value(each));
    return std::vector{check.value(each)};
  }));
}

}  // namespace
}  // namespace fathom::ops
