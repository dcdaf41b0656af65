#include "fathom/study/plan/fit.h"

#include <cmath>

#include <gtest/gtest.h>

#include "fathom/study/plan/distribution.h"

#include "tests/support/expect_error.h"

namespace fathom::plan {
namespace {

// Runs whose times follow from known efficiencies: reading at 0.8, products at 0.4.
std::vector<Observation> runs() {
  std::vector<Observation> observations;
  for (int model = 0; model < 4; ++model) {
    for (int run = 0; run < 6; ++run) {
      Observation observation{.model = "model " + std::to_string(model)};
      at(observation.seconds_at_limits, Work::PackedBytes) = 1.0 + model;
      at(observation.seconds_at_limits, Work::WideManyOps) = 0.2 * (run + 1) * (run + 1);
      observation.seconds = at(observation.seconds_at_limits, Work::PackedBytes) / 0.8 +
                            at(observation.seconds_at_limits, Work::WideManyOps) / 0.4;
      observations.push_back(observation);
    }
  }
  return observations;
}

TEST(Fit, FindsTheEfficienciesThatTheTimesWereMadeWith) {
  const FittedEfficiencies fitted = fit_efficiencies(runs(), prior_efficiencies());
  EXPECT_NEAR(at(fitted.efficiencies, Work::PackedBytes), 0.8, 0.01);
  EXPECT_NEAR(at(fitted.efficiencies, Work::WideManyOps), 0.4, 0.01);
  EXPECT_LE(fitted.error, 0.01);
}

TEST(Fit, WorkThatNoRunHasKeepsThePrior) {
  const FittedEfficiencies fitted = fit_efficiencies(runs(), prior_efficiencies());
  EXPECT_NEAR(at(fitted.efficiencies, Work::IndexOps), at(prior_efficiencies(), Work::IndexOps),
              1e-6);
  EXPECT_EQ(at(fitted.spreads, Work::IndexOps), 0);
}

TEST(Fit, OneRunThatANeighbourDisturbedHardlyMatters) {
  std::vector<Observation> observations = runs();
  observations[5].seconds *= 10;
  const FittedEfficiencies fitted = fit_efficiencies(observations, prior_efficiencies());
  EXPECT_NEAR(at(fitted.efficiencies, Work::PackedBytes), 0.8, 0.08);
  EXPECT_NEAR(at(fitted.efficiencies, Work::WideManyOps), 0.4, 0.04);
}

TEST(Fit, ErrorsAreOfModelsThatWereLeftOut) {
  std::vector<Observation> observations = runs();
  for (Observation& observation : observations) {
    observation.seconds *= observation.model == "model 0" ? 1.5 : 1;
  }
  const FittedEfficiencies fitted = fit_efficiencies(observations, prior_efficiencies());
  // A quarter of the runs is off by about ln 1.5, 1.28 deviations, and 80 % have to be inside.
  EXPECT_GT(fitted.error, 0.2);
  EXPECT_LT(fitted.error, 0.35);
}

// Many runs of each model, whose times vary by a factor with the deviation 0.2.
std::vector<Observation> noisy_runs() {
  std::vector<Observation> observations;
  for (std::uint64_t repetition = 0; repetition < 10; ++repetition) {
    for (Observation observation : runs()) {
      observation.seconds *=
          std::exp(0.2 * normal_quantile(uniform(repetition, observations.size(), 0)));
      observations.push_back(observation);
    }
  }
  return observations;
}

TEST(Fit, TheErrorPutsEightyPercentInside) {
  const FittedEfficiencies fitted = fit_efficiencies(noisy_runs(), prior_efficiencies());
  EXPECT_NEAR(fitted.error, 0.2, 0.02);
}

TEST(Fit, HowFarOffTheWorstRunsAreDoesNotWidenTheOthers) {
  std::vector<Observation> observations = noisy_runs();
  for (std::size_t idx = 0; idx < observations.size(); idx += 20) {
    observations[idx].seconds *= 3;
  }
  const FittedEfficiencies fitted = fit_efficiencies(observations, prior_efficiencies());
  EXPECT_NEAR(fitted.error, 0.22, 0.03);  // the root mean square is 0.31
}

TEST(Fit, WhatTheSpreadsExplainIsNotCountedTwice) {
  // Each model reads at a share of its own, which nothing but reading shows.
  std::vector<Observation> observations;
  for (int model = 0; model < 4; ++model) {
    for (int run = 0; run < 6; ++run) {
      Observation observation{.model = "model " + std::to_string(model)};
      at(observation.seconds_at_limits, Work::PackedBytes) = 1;
      observation.seconds = 1.25 * (model % 2 == 0 ? 1.2 : 1 / 1.2);
      observations.push_back(observation);
    }
  }
  const FittedEfficiencies fitted = fit_efficiencies(observations, prior_efficiencies());
  const double spread = at(fitted.spreads, Work::PackedBytes);
  EXPECT_GT(spread, 0.04);
  // A slow model takes 1.5 s where the others' least squares of relative errors say 1.131.
  const double needed = std::log(1.5 / 1.131) / 1.2816;
  EXPECT_NEAR(std::hypot(fitted.error, spread), needed, 0.002);
}

TEST(Fit, NeedsTwoModels) {
  const std::vector<Observation> all = runs();
  const std::vector<Observation> one(all.begin(), all.begin() + 6);
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "at least 2",
                                  [&] { fit_efficiencies(one, prior_efficiencies()); }));
}

}  // namespace
}  // namespace fathom::plan
