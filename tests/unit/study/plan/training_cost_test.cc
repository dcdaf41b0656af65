#include "fathom/study/plan/training_cost.h"

#include <limits>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::plan {
namespace {

using testing::fails_with;

TEST(TrainingCost, DeepSeekV3IsThePublishedSumOfItsParts) {
  const PublishedTraining& v3 = deepseek_v3_training();
  ASSERT_EQ(v3.parts.size(), 3U);
  EXPECT_EQ(v3.parts[0].gpu_hours * v3.usd_per_gpu_hour, 5'328'000);
  EXPECT_EQ(v3.parts[1].gpu_hours * v3.usd_per_gpu_hour, 238'000);
  EXPECT_EQ(v3.parts[2].gpu_hours * v3.usd_per_gpu_hour, 10'000);
  EXPECT_EQ(v3.gpu_hours(), 2'788'000);
  EXPECT_EQ(v3.usd(), 5'576'000);
}

TEST(TrainingCost, DeepSeekV3ReachedItsShareOfTheH800) {
  const PublishedTraining& v3 = deepseek_v3_training();
  EXPECT_NEAR(v3.pre_training_flop(), 3.29e24, 0.005e24);
  EXPECT_NEAR(v3.flop_per_s_per_accelerator(), 343e12, 0.5e12);
  EXPECT_NEAR(v3.utilisation(), 0.346, 0.0005);
}

TEST(TrainingCost, APlanWithTheUtilisationOfDeepSeekV3HasItsHours) {
  const PublishedTraining& v3 = deepseek_v3_training();
  TrainingPlan plan;
  plan.tokens = v3.tokens;
  plan.flop_per_token = 6 * v3.active_parameters;
  plan.peak_flop_per_s = v3.dense_peak_flop_per_s;
  plan.utilisation = v3.utilisation();
  plan.usd_per_gpu_hour = 2;
  plan.num_accelerators = 2048;
  const TrainingEstimate found = estimate(plan);
  EXPECT_NEAR(found.gpu_hours, 2'664'000, 1e-6 * 2'664'000);
  EXPECT_NEAR(found.usd, 5'328'000, 1e-6 * 5'328'000);
  EXPECT_NEAR(found.days, 2'664'000 / 2048.0 / 24, 1e-3);
}

TEST(TrainingCost, ScenariosOfV4HaveTheStatedHoursAndMoney) {
  const std::vector<TrainingScenario> scenarios = v4_scenarios();
  ASSERT_EQ(scenarios.size(), 4U);
  const auto hours = [&](std::size_t idx) { return estimate(scenarios[idx].plan).gpu_hours / 1e6; };
  EXPECT_NEAR(hours(0), 2.02, 0.005);
  EXPECT_NEAR(hours(1), 0.91, 0.005);
  EXPECT_NEAR(hours(2), 7.87, 0.005);
  EXPECT_NEAR(hours(3), 2.71, 0.005);
  EXPECT_NEAR(estimate(scenarios[0].plan).usd, 4.0e6, 0.05e6);
  EXPECT_NEAR(estimate(scenarios[2].plan).usd, 15.7e6, 0.05e6);
  EXPECT_EQ(estimate(scenarios[1].plan).usd, 0);  // no price of an hour was stated
}

TEST(TrainingCost, MoreTokensOrLessUtilisationCostInProportion) {
  TrainingPlan plan{.tokens = 1e12,
                    .flop_per_token = 6e10,
                    .flop_basis = "",
                    .peak_flop_per_s = 1e15,
                    .utilisation = 0.4,
                    .usd_per_gpu_hour = 2,
                    .hardware_basis = ""};
  const TrainingEstimate before = estimate(plan);
  plan.tokens *= 2;
  EXPECT_DOUBLE_EQ(estimate(plan).usd, 2 * before.usd);
  plan.utilisation /= 2;
  EXPECT_DOUBLE_EQ(estimate(plan).usd, 4 * before.usd);
  EXPECT_DOUBLE_EQ(estimate(plan).flop, 2 * before.flop);
}

TEST(TrainingCost, ImpossibleInputsAreRefusedByName) {
  const TrainingPlan good{.tokens = 1e12,
                          .flop_per_token = 6e10,
                          .flop_basis = "",
                          .peak_flop_per_s = 1e15,
                          .utilisation = 0.4,
                          .usd_per_gpu_hour = 2,
                          .hardware_basis = ""};
  const auto refuses = [&](auto change, const std::string& message) {
    TrainingPlan plan = good;
    change(plan);
    return fails_with(ErrorCode::InvalidArgument, message, [&] { estimate(plan); });
  };
  EXPECT_TRUE(refuses([](auto& plan) { plan.tokens = 0; }, "tokens: found 0"));
  EXPECT_TRUE(refuses([](auto& plan) { plan.tokens = std::numeric_limits<double>::quiet_NaN(); },
                      "tokens: found nan"));
  EXPECT_TRUE(refuses([](auto& plan) { plan.flop_per_token = -1; }, "flop_per_token: found -1"));
  EXPECT_TRUE(refuses([](auto& plan) { plan.peak_flop_per_s = 0; }, "peak_flop_per_s: found 0"));
  EXPECT_TRUE(refuses([](auto& plan) { plan.utilisation = 1.1; }, "utilisation: found 1.1"));
  EXPECT_TRUE(refuses([](auto& plan) { plan.usd_per_gpu_hour = -2; },
                      "usd_per_gpu_hour: found -2, expected at least 0 US dollars"));
  EXPECT_TRUE(refuses([](auto& plan) { plan.reached_flop_per_s = 1e14; }, "expected one of both"));
  EXPECT_TRUE(
      refuses([](auto& plan) { plan.num_accelerators = -1; }, "num_accelerators: found -1"));
}

}  // namespace
}  // namespace fathom::plan
