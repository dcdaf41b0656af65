#include "fathom/train/optim/schedule.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::optim {
namespace {

using testing::fails_with;

TEST(Schedule, WarmsUpInAStraightLineThatMeetsThePeak) {
  const ScheduleOptions options = {
      .kind = ScheduleKind::Constant, .peak = 8, .end = 1, .num_steps = 100, .warmup_steps = 4};
  EXPECT_EQ(learning_rate(options, 0), 2);
  EXPECT_EQ(learning_rate(options, 1), 4);
  EXPECT_EQ(learning_rate(options, 3), 8);
  EXPECT_EQ(learning_rate(options, 4), 8);
  EXPECT_EQ(learning_rate(options, 99), 8);
  EXPECT_EQ(first_decay_step(options), 100);
}

TEST(Schedule, CosineIsHalfWayInTheMiddle) {
  const ScheduleOptions options = {
      .kind = ScheduleKind::Cosine, .peak = 3, .end = 1, .num_steps = 110, .warmup_steps = 10};
  EXPECT_EQ(learning_rate(options, 10), 3);
  EXPECT_NEAR(learning_rate(options, 60), 2, 1e-15);
  EXPECT_NEAR(learning_rate(options, 35), 2 + std::sqrt(0.5), 1e-15);
  EXPECT_GT(learning_rate(options, 109), 1);
  EXPECT_EQ(learning_rate(options, 110), 1);
  EXPECT_EQ(learning_rate(options, 1'000'000), 1);
  EXPECT_EQ(first_decay_step(options), 10);
}

TEST(Schedule, WsdStaysAtThePeakAndThenFollowsItsCurve) {
  ScheduleOptions options = {.kind = ScheduleKind::Wsd,
                             .peak = 2,
                             .end = 0,
                             .num_steps = 100,
                             .warmup_steps = 10,
                             .decay_steps = 16,
                             .curve = DecayCurve::Linear};
  EXPECT_EQ(first_decay_step(options), 84);
  for (const Index step : {9, 10, 50, 84}) {
    EXPECT_EQ(learning_rate(options, step), 2) << step;
  }
  EXPECT_EQ(learning_rate(options, 88), 1.5);  // a quarter of the way
  options.curve = DecayCurve::OneMinusSqrt;
  EXPECT_EQ(learning_rate(options, 88), 1);
  options.curve = DecayCurve::Cosine;
  EXPECT_NEAR(learning_rate(options, 88), 1 + std::sqrt(0.5), 1e-15);
  EXPECT_EQ(learning_rate(options, 100), 0);
  options.decay_steps = 0;
  EXPECT_EQ(learning_rate(options, 99), 2);
}

TEST(Schedule, NamesAreReadBack) {
  for (const auto kind : {ScheduleKind::Constant, ScheduleKind::Cosine, ScheduleKind::Wsd}) {
    EXPECT_EQ(schedule_kind_from_name(to_string(kind)), kind);
  }
  for (const auto curve : {DecayCurve::Linear, DecayCurve::Cosine, DecayCurve::OneMinusSqrt}) {
    EXPECT_EQ(decay_curve_from_name(to_string(curve)), curve);
  }
  EXPECT_EQ(schedule_kind_from_name("linear"), std::nullopt);
  EXPECT_EQ(decay_curve_from_name(""), std::nullopt);
}

TEST(Schedule, ContradictionsAreNamed) {
  const auto refuse = [](const std::string& part, const ScheduleOptions& options) {
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, part, [&] { check_schedule(options); }));
  };
  const ScheduleOptions good = {.num_steps = 100, .warmup_steps = 60, .decay_steps = 40};
  check_schedule(good);
  ScheduleOptions options = good;
  options.peak = std::nan("");
  refuse("schedule: peak: nan", options);
  options = good;
  options.end = 1;
  refuse("schedule: end: 1, expected 0 to 0.0003", options);
  options = good;
  options.num_steps = 0;
  refuse("schedule: 0 steps", options);
  options = good;
  options.warmup_steps = 101;
  refuse("warmup_steps: 101 steps, expected 0 to 100", options);
  options = good;
  options.decay_steps = 41;
  refuse("decay_steps: 41 steps, expected 0 to 40", options);
}

}  // namespace
}  // namespace fathom::optim
