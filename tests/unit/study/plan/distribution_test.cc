#include "fathom/study/plan/distribution.h"

#include <cmath>
#include <limits>
#include <set>

#include <gtest/gtest.h>

namespace fathom::plan {
namespace {

constexpr double kZ90 = 1.2815515655446004;

TEST(Distribution, QuantileInvertsTheNormalDistribution) {
  for (const double z : {-6.0, -2.5, -1.0, -1e-3, 0.0, 0.4, kZ90, 3.0, 5.0}) {
    EXPECT_NEAR(normal_quantile(normal_cdf(z)), z, 1e-9) << z;
  }
  EXPECT_NEAR(normal_quantile(0.9), kZ90, 1e-14);
  EXPECT_NEAR(normal_quantile(0.975), 1.959963984540054, 1e-14);
}

TEST(Distribution, PassesThroughItsPercentiles) {
  for (const Percentiles& percentiles : {Percentiles{1, 2, 8}, {-1, 0, 3}, {0, 0, 0}, {5, 5, 5}}) {
    EXPECT_NEAR(value_at(percentiles, -kZ90), percentiles.p10, 1e-12);
    EXPECT_NEAR(value_at(percentiles, 0), percentiles.p50, 1e-12);
    EXPECT_NEAR(value_at(percentiles, kZ90), percentiles.p90, 1e-12);
  }
}

TEST(Distribution, PositivePercentilesNeverGiveANegativeValue) {
  EXPECT_GT(value_at({0.01, 1, 1.1}, -8), 0);
}

TEST(Distribution, MeanOfDrawsIsTheClosedForm) {
  constexpr Index kDraws = 200000;
  for (const Percentiles& percentiles : {Percentiles{1, 2, 8}, {-1, 0, 3}, {40, 60, 100}}) {
    double sum = 0;
    double sum_of_squares = 0;
    for (Index draw = 0; draw < kDraws; ++draw) {
      const double value =
          value_at(percentiles, normal_quantile(uniform(7, static_cast<std::uint64_t>(draw), 3)));
      sum += value;
      sum_of_squares += value * value;
    }
    const double mean = sum / kDraws;
    const double error = std::sqrt((sum_of_squares / kDraws - mean * mean) / kDraws);
    EXPECT_NEAR(mean, mean_of(percentiles), 4 * error);
  }
}

TEST(Distribution, UniformNumbersFillTheUnitIntervalEvenly) {
  constexpr std::size_t kBins = 20;
  constexpr std::uint64_t kDraws = 100000;
  std::vector<double> counts(kBins);
  for (std::uint64_t draw = 0; draw < kDraws; ++draw) {
    const double value = uniform(1, draw, 0);
    ASSERT_TRUE(value > 0 && value < 1);
    counts[static_cast<std::size_t>(value * kBins)] += 1;
  }
  double chi_squared = 0;
  const double expected = static_cast<double>(kDraws) / kBins;
  for (const double count : counts) {
    chi_squared += (count - expected) * (count - expected) / expected;
  }
  EXPECT_LT(chi_squared, 43.8);  // 19 degrees of freedom, one in a thousand above
}

TEST(Distribution, VariablesOfADrawAreUncorrelated) {
  constexpr std::uint64_t kDraws = 100000;
  for (std::uint64_t variable = 1; variable < 6; ++variable) {
    double sum = 0;
    for (std::uint64_t draw = 0; draw < kDraws; ++draw) {
      sum += (uniform(1, draw, 0) - 0.5) * (uniform(1, draw, variable) - 0.5);
    }
    EXPECT_LT(std::abs(12 * sum / kDraws), 4 / std::sqrt(static_cast<double>(kDraws)));
  }
}

TEST(Distribution, DrawsFollowTheSeedAlone) {
  EXPECT_EQ(uniform(1, 5, 2), uniform(1, 5, 2));
  EXPECT_NE(uniform(1, 5, 2), uniform(2, 5, 2));
  EXPECT_NE(uniform(1, 5, 2), uniform(1, 6, 2));
  EXPECT_NE(uniform(1, 5, 2), uniform(1, 5, 3));
}

TEST(Distribution, QuantilesAreLinearBetweenNeighbours) {
  std::vector<double> values = {4, 1, 3, 2, 5};
  EXPECT_EQ(quantile(values, 0.5), 3);
  EXPECT_NEAR(quantile(values, 0.1), 1.4, 1e-12);
  EXPECT_EQ(quantile(values, 1), 5);
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> open = {1, 2, infinity, infinity};
  EXPECT_EQ(quantile(open, 0.9), infinity);
  EXPECT_EQ(quantile(open, 0.0), 1);
}

}  // namespace
}  // namespace fathom::plan
