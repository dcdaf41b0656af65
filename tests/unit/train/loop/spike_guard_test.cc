#include "fathom/train/loop/spike_guard.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::train {
namespace {

const double kNan = std::numeric_limits<double>::quiet_NaN();
const double kInfinity = std::numeric_limits<double>::infinity();

// Losses that wobble by a hundredth around 2, norms by a tenth around 1.
SpikeGuard settled(const GuardOptions& options = {}) {
  SpikeGuard guard(options);
  for (int step = 0; step < 100; ++step) {
    const double wobble = std::sin(static_cast<double>(step));
    guard.accept(2 + 0.01 * wobble, 1 + 0.1 * wobble);
  }
  return guard;
}

TEST(SpikeGuard, WhatIsFarAboveTheWindowIsRefused) {
  const SpikeGuard guard = settled();
  EXPECT_EQ(guard.judge(2.05, 1.2), Verdict::Good);
  EXPECT_EQ(guard.judge(4, 1), Verdict::LossSpike);
  EXPECT_EQ(guard.judge(2, 50), Verdict::NormSpike);
  EXPECT_EQ(guard.judge(0.1, 0.01), Verdict::Good) << "lower is never a spike";
}

TEST(SpikeGuard, NumbersThatAreNotFiniteAreRefusedFromTheFirstStepOn) {
  const SpikeGuard guard({.deviations = 0});
  for (const double bad : {kNan, kInfinity, -kInfinity}) {
    EXPECT_EQ(guard.judge(bad, 1), Verdict::NotFinite);
    EXPECT_EQ(guard.judge(1, bad), Verdict::NotFinite);
  }
}

TEST(SpikeGuard, FewStepsAndNoDeviationsMeanNoLimit) {
  SpikeGuard guard({.min_steps = 3});
  guard.accept(1, 1);
  guard.accept(1, 1);
  EXPECT_EQ(guard.judge(1e9, 1e9), Verdict::Good);
  EXPECT_EQ(guard.loss_limit(), kInfinity);
  guard.accept(1, 1);
  EXPECT_EQ(guard.judge(1e9, 1), Verdict::LossSpike);
  EXPECT_EQ(settled({.deviations = 0}).judge(1e9, 1e9), Verdict::Good);
}

TEST(SpikeGuard, OutliersInTheWindowDoNotMoveTheLimit) {
  SpikeGuard guard = settled();
  const double before = guard.loss_limit();
  for (int times = 0; times < 10; ++times) {
    guard.accept(1000, 1);
  }
  EXPECT_LE(guard.loss_limit(), before + 0.1);
}

TEST(SpikeGuard, APlateauWithoutAnyDeviationAllowsASmallRise) {
  SpikeGuard guard({.min_steps = 1, .deviations = 5});
  for (int step = 0; step < 50; ++step) {
    guard.accept(2, 1);
  }
  EXPECT_EQ(guard.judge(2.09, 1.9), Verdict::Good);
  EXPECT_EQ(guard.judge(2.11, 1), Verdict::LossSpike);
  EXPECT_EQ(guard.judge(2, 2.1), Verdict::NormSpike);
}

TEST(SpikeGuard, TheWindowMovesOnAndComesBackFromItsHistory) {
  SpikeGuard guard({.window_steps = 4, .min_steps = 2});
  for (const double loss : {9.0, 8.0, 3.0, 2.0, 2.0, 2.0}) {
    guard.accept(loss, loss);
  }
  EXPECT_EQ(guard.history().losses, (std::vector<double>{3, 2, 2, 2}));
  SpikeGuard again({.window_steps = 4, .min_steps = 2});
  again.restore(guard.history());
  EXPECT_EQ(again.history(), guard.history());
  EXPECT_EQ(again.loss_limit(), guard.loss_limit());
  EXPECT_LT(again.loss_limit(), 3);
}

TEST(SpikeGuard, WrongOptionsAreNamed) {
  const auto refused = [](const GuardOptions& options, const char* part) {
    return testing::fails_with(ErrorCode::InvalidArgument, part, [&] { SpikeGuard{options}; });
  };
  EXPECT_TRUE(refused({.window_steps = 0, .min_steps = 1}, "guard: window_steps"));
  EXPECT_TRUE(refused({.window_steps = 5, .min_steps = 6}, "guard: min_steps"));
  EXPECT_TRUE(refused({.deviations = -1}, "guard: deviations"));
  EXPECT_TRUE(refused({.deviations = kNan}, "guard: deviations"));
  EXPECT_TRUE(refused({.steps_in_a_row = 0}, "guard: steps_in_a_row"));
  EXPECT_TRUE(refused({.max_rollbacks = -1}, "guard: max_rollbacks"));
}

}  // namespace
}  // namespace fathom::train
