#include "fathom/study/plan/machine.h"

#include <cmath>

#include <gtest/gtest.h>

#include "fathom/study/plan/speed_model.h"

#include "tests/support/expect_error.h"

namespace fathom::plan {
namespace {

using testing::fails_with;

const std::string kOne = R"([[machine]]
name = "box"
title = "a box"
[[machine.figure]]
what = "read_bytes_per_s"
threads = 1
value = 10e9
basis = "measured"
source = "a run"
date = 2026-01-02
[[machine.figure]]
what = "read_bytes_per_s"
threads = 8
value = 60e9
spread = 0.1
basis = "vendor"
source = "a \"sheet\""
date = 2026-01-03
)";

std::string with(const std::string& from, const std::string& to) {
  std::string text = kOne;
  text.replace(text.find(from), from.size(), to);
  return text;
}

TEST(Machine, IsReadWithSourceAndDateOfEachFigure) {
  const Machine machine = parse_machines(kOne, "box.toml").front();
  EXPECT_EQ(machine.name, "box");
  const Figure* figure = machine.find(FigureKind::ReadBytesPerS);
  ASSERT_NE(figure, nullptr);  // of the most threads
  EXPECT_EQ(figure->value, 60e9);
  EXPECT_EQ(figure->at, 8);
  EXPECT_EQ(figure->spread, 0.1);
  EXPECT_EQ(figure->basis, Evidence::Vendor);
  EXPECT_EQ(figure->source, "a \"sheet\"");
  EXPECT_EQ(figure->date, "2026-01-03");
  EXPECT_FALSE(machine.value(FigureKind::LoadWatts));
}

TEST(Machine, TextOfAMachineIsReadBack) {
  Machine machine = parse_machines(kOne, "box.toml").front();
  machine.title = "quote \" backslash \\ line\nand \x01";
  machine.figures.push_back({.kind = FigureKind::Efficiency,
                             .value = 0.123456789,
                             .of = Work::CacheBytes,
                             .spread = 0.25,
                             .basis = Evidence::Estimated,
                             .source = "fit",
                             .date = "2026-11-26"});
  const Machine again = parse_machines(machine_toml(machine), "saved").front();
  EXPECT_EQ(again.title, machine.title);
  ASSERT_EQ(again.figures.size(), machine.figures.size());
  EXPECT_EQ(machine_toml(again), machine_toml(machine));
  EXPECT_EQ(again.efficiency(Work::CacheBytes)->value, 0.123456789);
}

TEST(Machine, ErrorsNameTheField) {
  const auto refuses = [](const std::string& text, const std::string& part) {
    return fails_with(ErrorCode::InvalidArgument, part, [&] { parse_machines(text, "box.toml"); });
  };
  EXPECT_TRUE(refuses(with("value = 10e9", "value = -1"), "value"));
  EXPECT_TRUE(refuses(with("value = 10e9", "value = nan"), "value"));
  EXPECT_TRUE(refuses(with("what = \"read_bytes_per_s\"\nthreads = 1\nvalue = 10e9",
                           "what = \"load_watts\"\nvalue = 0"),
                      "value: found 0"));
  // Of a profile whose efficiencies were relative to something else.
  EXPECT_TRUE(refuses(with("what = \"read_bytes_per_s\"\nthreads = 1\nvalue = 10e9",
                           "what = \"efficiency\"\nof = \"activations\"\nvalue = 0.5"),
                      "of: found \"activations\", which is no kind of work; fathom probe makes"));
  EXPECT_TRUE(refuses(with("what = \"read_bytes_per_s\"\nthreads = 1\nvalue = 10e9",
                           "what = \"decode_error\"\nvalue = 0.2"),
                      "what: found \"decode_error\", expected a figure of docs/planning.md; fathom "
                      "probe makes"));
  EXPECT_TRUE(refuses(with("basis = \"measured\"", "basis = \"guessed\""), "basis"));
  EXPECT_TRUE(refuses(with("source = \"a run\"\n", ""), "source"));
  EXPECT_TRUE(refuses(with("date = 2026-01-02\n", ""), "date"));
  EXPECT_TRUE(refuses(with("threads = 8", "threads = 1"), "already"));
  EXPECT_TRUE(refuses(with("spread = 0.1", "sprad = 0.1"), "sprad"));
  EXPECT_TRUE(refuses(with("title = \"a box\"", "title = \"\""), "title"));
  EXPECT_TRUE(refuses("", "[[machine]]"));
  EXPECT_TRUE(refuses(kOne + kOne, "twice"));
}

TEST(Machine, WorkingSetsBetweenMeasuredSizesLieBetweenTheirRates) {
  Machine machine;
  const auto add = [&](double bytes, double rate) {
    machine.figures.push_back(
        {.kind = FigureKind::WorkingSetBytesPerS, .value = rate, .at = bytes});
  };
  add(10, 80);
  add(1000, 20);
  machine.figures.push_back({.kind = FigureKind::ReadBytesPerS, .value = 15, .at = 2});
  EXPECT_EQ(machine.read_bytes_per_s(1), 80);
  EXPECT_DOUBLE_EQ(*machine.read_bytes_per_s(100), 40);
  EXPECT_DOUBLE_EQ(*machine.read_bytes_per_s(1000), 20);
  EXPECT_EQ(machine.read_bytes_per_s(1001), 15);
}

// Memory 10 by two threads, 40 in caches and 20 between them, a peak of 7 and a barrier of 2.
Machine with_caches() {
  Machine machine;
  const auto add = [&](FigureKind kind, double value, double at = 0) {
    machine.figures.push_back({.kind = kind, .value = value, .at = at, .spread = 0.5});
  };
  add(FigureKind::WorkingSetBytesPerS, 40, 1);
  add(FigureKind::WorkingSetBytesPerS, 20, 100);
  add(FigureKind::ReadBytesPerS, 10, 2);
  add(FigureKind::Fp32OpsPerS, 7);
  add(FigureKind::BarrierS, 2);
  add(FigureKind::SpeedError, 0.3);
  return machine;
}

TEST(Machine, AtAMomentArithmeticFollowsCachesAndWorkingSetsWhatTheyAreReadFrom) {
  const Machine now =
      at_moment(with_caches(), {.read_bytes_per_s = 40, .cached_bytes_per_s = 20, .barrier_s = 5});
  EXPECT_DOUBLE_EQ(*now.value(FigureKind::ReadBytesPerS), 40);
  EXPECT_DOUBLE_EQ(*now.read_bytes_per_s(1), 20);
  EXPECT_DOUBLE_EQ(*now.read_bytes_per_s(100), 20 * std::sqrt(4 * 0.5));  // half way, as it read
  EXPECT_DOUBLE_EQ(*now.value(FigureKind::Fp32OpsPerS), 3.5);
  EXPECT_DOUBLE_EQ(*now.value(FigureKind::BarrierS), 5);
  EXPECT_DOUBLE_EQ(*now.value(FigureKind::SpeedError), 0.3);
  EXPECT_EQ(now.find(FigureKind::ReadBytesPerS)->spread, 0);
}

TEST(Machine, WhatIsNotKnownOfAMomentFollowsMemory) {
  const Machine half = at_moment(with_caches(), {.read_bytes_per_s = 5});
  EXPECT_DOUBLE_EQ(*half.value(FigureKind::ReadBytesPerS), 5);
  EXPECT_DOUBLE_EQ(*half.read_bytes_per_s(1), 20);
  EXPECT_DOUBLE_EQ(*half.read_bytes_per_s(100), 10);
  EXPECT_DOUBLE_EQ(*half.value(FigureKind::Fp32OpsPerS), 3.5);
  EXPECT_DOUBLE_EQ(*half.value(FigureKind::BarrierS), 4);
  EXPECT_DOUBLE_EQ(*at_moment(with_caches(), {}).value(FigureKind::BarrierS), 2);
}

TEST(Machine, EveryFigureOfTheLibraryHasASourceAndADate) {
  for (const Machine& machine : known_machines()) {
    EXPECT_FALSE(machine.figures.empty()) << machine.name;
    for (const Figure& figure : machine.figures) {
      EXPECT_FALSE(figure.source.empty()) << machine.name;
      EXPECT_EQ(figure.date.size(), 10U) << machine.name;
    }
  }
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "--machine", [] { find_machine("toaster"); }));
}

TEST(Machine, WhatIsAssumedIsLabelledEstimatedAndEnoughForSpeeds) {
  Machine machine = parse_machines(kOne, "box.toml").front();
  machine.figures.push_back({.kind = FigureKind::Threads, .value = 8});
  EXPECT_FALSE(missing_for_speed(machine).empty());
  assume_missing(machine);
  EXPECT_EQ(missing_for_speed(machine), "");
  EXPECT_EQ(machine.efficiency(Work::PackedBytes)->basis, Evidence::Estimated);
  EXPECT_GE(machine.value(FigureKind::SpeedError).value_or(0), 0.35);
  const Machine& reference = find_machine(std::string(kReferenceMachine));
  EXPECT_DOUBLE_EQ(
      *machine.value(FigureKind::Fp32OpsPerS),
      *reference.value(FigureKind::Fp32OpsPerS) * 8 / *reference.value(FigureKind::Threads));
  // Nothing is added to a machine that lacks nothing.
  const std::size_t count = machine.figures.size();
  assume_missing(machine);
  EXPECT_EQ(machine.figures.size(), count);
}

}  // namespace
}  // namespace fathom::plan
