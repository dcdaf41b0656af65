#include "fathom/study/plan/speed_model.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/unit/study/plan/simple_machine.h"

namespace fathom::plan {
namespace {

Amounts some_work() {
  Amounts amounts{};
  at(amounts, Work::PackedBytes) = 50e9;        // half a second at the limit
  at(amounts, Work::PackedManyOps) = 0.025e12;  // a quarter
  at(amounts, Work::Starts) = 1000;             // a millisecond
  return amounts;
}

TEST(SpeedModel, SecondsAreTheSumOfWorkOverLimitsAndEfficiencies) {
  const Percentiles seconds = SpeedModel(simple_machine(0.5)).seconds(some_work(), 1e12);
  EXPECT_NEAR(seconds.p50, 2 * 0.751, 1e-12);
  EXPECT_DOUBLE_EQ(seconds.p10, seconds.p90);  // nothing varies
  const Percentiles rate = rate_of(3, seconds);
  EXPECT_NEAR(rate.p50, 3 / 1.502, 1e-12);
}

TEST(SpeedModel, ActivationsFollowTheBarrierAndSerialWorkIsInMicroseconds) {
  Amounts amounts{};
  at(amounts, Work::ExchangedNumbers) = 1600;  // a hundred lines
  at(amounts, Work::RoutedTokens) = 10;
  at(amounts, Work::SequenceLayers) = 20;
  const auto seconds = [&](double barrier_s) {
    Machine machine = simple_machine(0.5);
    set_figure(machine, FigureKind::BarrierS, barrier_s);
    return SpeedModel(machine).seconds(amounts, 1e12).p50;
  };
  EXPECT_NEAR(seconds(1e-6), 2 * (100e-6 + 30e-6), 1e-12);
  EXPECT_NEAR(seconds(3e-6), 2 * (300e-6 + 30e-6), 1e-12);
}

TEST(SpeedModel, AnErrorOfTheWholeGivesItsOwnInterval) {
  Machine machine = simple_machine();
  set_figure(machine, FigureKind::SpeedError, 0.2);
  const SpeedModel speed(machine);
  const Percentiles seconds = speed.seconds(some_work(), 1e12);
  // The tenth percentile of a normal is 1.2816 deviations below the middle; 512 draws are near it.
  EXPECT_NEAR(std::log(seconds.p90 / seconds.p50), 1.2816 * 0.2, 0.05);
  EXPECT_NEAR(std::log(seconds.p50 / seconds.p10), 1.2816 * 0.2, 0.05);
}

TEST(SpeedModel, BandwidthThatVariesWidensWhatMemoryBoundsAlone) {
  Machine machine = simple_machine();
  set_figure(machine, FigureKind::ReadBytesPerS, 100e9, 0.3);
  const SpeedModel speed(machine);
  Amounts reading{};
  at(reading, Work::PackedBytes) = 1e9;
  Amounts computing{};
  at(computing, Work::PackedManyOps) = 1e9;
  const Percentiles read = speed.seconds(reading, 1e12);
  const Percentiles computed = speed.seconds(computing, 1e12);
  EXPECT_GT(read.p90 / read.p10, 1.5);
  EXPECT_DOUBLE_EQ(computed.p10, computed.p90);
}

TEST(SpeedModel, TheDiskAddsItsSeconds) {
  const SpeedModel speed(simple_machine());
  EXPECT_NEAR(speed.seconds(some_work(), 1e12, 5).p50, 5 + speed.seconds(some_work(), 1e12).p50,
              1e-9);
}

TEST(SpeedModel, BarriersThatVaryWidenWhatOnlyStarts) {
  Machine machine = simple_machine();
  set_figure(machine, FigureKind::BarrierS, 1e-6, 0.3);
  const SpeedModel speed(machine);
  Amounts starting{};
  at(starting, Work::Starts) = 1000;
  const Percentiles started = speed.seconds(starting, 1e12);
  EXPECT_GT(started.p90 / started.p10, 1.5);
  EXPECT_NEAR(started.p50, 2 * 1e-3, 1e-4);
}

TEST(SpeedModel, AtAMomentThereIsNoSpread) {
  Machine machine = simple_machine();
  set_figure(machine, FigureKind::ReadBytesPerS, 100e9, 0.3);
  const SpeedModel speed(at_moment(machine, {.read_bytes_per_s = 50e9}));
  const Percentiles seconds = speed.seconds(some_work(), 1e12);
  EXPECT_NEAR(seconds.p50, 2 * (0.5 + 0.25 + 0.001) / 0.5, 1e-12);
  EXPECT_DOUBLE_EQ(seconds.p10, seconds.p90);
}

TEST(SpeedModel, SaysWhatAMachineLacks) {
  Machine machine = simple_machine();
  EXPECT_EQ(missing_for_speed(machine), "");
  std::erase_if(machine.figures,
                [](const Figure& figure) { return figure.kind == FigureKind::Fp32OpsPerS; });
  EXPECT_EQ(missing_for_speed(machine), "fp32_ops_per_s");
}

}  // namespace
}  // namespace fathom::plan
