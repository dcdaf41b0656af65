#include "fathom/study/plan/fit.h"

#include <cmath>

#include <gtest/gtest.h>

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
      observation.phase = run < 3 ? SpeedModel::Phase::Decode : SpeedModel::Phase::Prefill;
      observations.push_back(observation);
    }
  }
  return observations;
}

TEST(Fit, FindsTheEfficienciesThatTheTimesWereMadeWith) {
  const FittedEfficiencies fitted = fit_efficiencies(runs(), prior_efficiencies());
  EXPECT_NEAR(at(fitted.efficiencies, Work::PackedBytes), 0.8, 0.01);
  EXPECT_NEAR(at(fitted.efficiencies, Work::WideManyOps), 0.4, 0.01);
  EXPECT_LE(fitted.decode_error, 0.01);
  EXPECT_LE(fitted.prefill_error, 0.01);
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
  // A quarter of the runs is off by about ln 1.5.
  EXPECT_GT(fitted.decode_error, 0.15);
  EXPECT_LT(fitted.decode_error, 0.35);
}

TEST(Fit, NeedsTwoModels) {
  const std::vector<Observation> all = runs();
  const std::vector<Observation> one(all.begin(), all.begin() + 6);
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "at least 2",
                                  [&] { fit_efficiencies(one, prior_efficiencies()); }));
}

}  // namespace
}  // namespace fathom::plan
