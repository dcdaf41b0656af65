#include "fathom/study/bench/measure.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::bench {
namespace {

// A machine and a model whose figures are known.
class FakeSubject : public Subject {
 public:
  void prepare(const Cell& cell) override { calls.push_back("prepare " + describe(cell)); }
  Run run(const Cell& cell) override {
    calls.push_back("run " + describe(cell));
    const double seconds = next_seconds;
    next_seconds *= slowdown;
    return {seconds, pauses};
  }
  Moment moment(Phase phase) override {
    calls.push_back(phase == Phase::Prefill ? "moment prefill" : "moment decode");
    if (limits.empty()) {
      return {};
    }
    const double limit = limits.front();
    limits.erase(limits.begin());
    return {.limit = limit,
            .read_bytes_per_s = 2 * limit,
            .cached_bytes_per_s = 3 * limit,
            .barrier_s = has_barrier ? std::optional(4 * limit) : std::nullopt};
  }
  std::optional<double> cost_per_token(const Cell&) override { return cost; }

  std::vector<std::string> calls;
  double next_seconds = 1;
  double slowdown = 1;
  std::vector<double> limits;
  bool has_barrier = true;
  std::vector<Moment> pauses;
  std::optional<double> cost = 10;
};

constexpr Cell kPrefill = {.phase = Phase::Prefill, .tokens = 100};
constexpr Cell kDecode = {.phase = Phase::Decode, .tokens = 20, .context = 0, .batch = 4};

TEST(Measure, MedianIsTheMiddleWhateverTheOrder) {
  EXPECT_EQ(median({3}), 3);
  EXPECT_EQ(median({9, 1, 5}), 5);
  EXPECT_EQ(median({9, 1, 5, 3}), 4);
}

TEST(Measure, CellsTakeTurnsAndArePreparedOnce) {
  FakeSubject subject;
  subject.cost = std::nullopt;
  const std::vector<Cell> cells = {kPrefill, kDecode};
  measure_cells(subject, cells, 2);
  const std::vector<std::string> expected = {
      "prepare prefill 100",         "run prefill 100", "prepare decode 20 at 0, batch 4",
      "run decode 20 at 0, batch 4", "run prefill 100", "run decode 20 at 0, batch 4"};
  std::erase_if(subject.calls, [](const std::string& call) { return call.starts_with("moment"); });
  EXPECT_EQ(subject.calls, expected);
}

TEST(Measure, LimitIsTakenJustBeforeAndJustAfterEachRun) {
  FakeSubject subject;
  subject.limits = {1000, 3000};
  const auto results = measure_cells(subject, std::vector<Cell>{kDecode}, 1);
  const std::vector<std::string> expected = {"prepare decode 20 at 0, batch 4", "moment decode",
                                             "run decode 20 at 0, batch 4", "moment decode"};
  EXPECT_EQ(subject.calls, expected);
  // 4 sequences, 20 steps, 1 second; 10 a token, of 2000.
  EXPECT_EQ(results[0].tokens_per_s, 80);
  EXPECT_DOUBLE_EQ(results[0].fraction_of_limit.value(), 0.4);
  EXPECT_DOUBLE_EQ(results[0].meanwhile.read_bytes_per_s, 4000);
  EXPECT_DOUBLE_EQ(results[0].meanwhile.cached_bytes_per_s, 6000);
  EXPECT_DOUBLE_EQ(results[0].meanwhile.barrier_s.value(), 8000);
  subject.limits = {1000, 3000};
  subject.has_barrier = false;
  EXPECT_FALSE(measure_cells(subject, std::vector<Cell>{kDecode}, 1)[0].meanwhile.barrier_s);
}

TEST(Measure, TheMomentOfACellIsThatOfTheRunInTheMiddle) {
  FakeSubject subject;
  subject.slowdown = 0.5;  // 100, 200, 400 tokens per second
  subject.limits = {2000, 4000, 8000, 100};
  const auto three = measure_cells(subject, std::vector<Cell>{kPrefill}, 3);
  EXPECT_EQ(three[0].tokens_per_s, 200);
  EXPECT_DOUBLE_EQ(three[0].meanwhile.limit.value(), 6000);
  subject.next_seconds = 1;
  subject.limits = {1000, 3000, 5000};
  const auto two = measure_cells(subject, std::vector<Cell>{kPrefill}, 2);  // both are
  EXPECT_EQ(two[0].tokens_per_s, 150);
  EXPECT_DOUBLE_EQ(two[0].meanwhile.limit.value(), 3000);
}

TEST(Measure, TheMomentAfterARunIsTheOneBeforeTheNextOfItsPhase) {
  FakeSubject subject;
  subject.limits = {1000, 3000, 5000};
  const auto results = measure_cells(subject, std::vector<Cell>{kPrefill}, 2);
  // Means of 2000 and 4000; theirs.
  EXPECT_DOUBLE_EQ(results[0].meanwhile.limit.value(), 3000);
  EXPECT_TRUE(subject.limits.empty());
}

TEST(Measure, LimitsInThePausesOfARunCountAsMuchAsThoseAroundIt) {
  FakeSubject subject;
  subject.limits = {1000, 3000};
  subject.pauses = {{.limit = 500}, {.limit = 3500}};
  const auto results = measure_cells(subject, std::vector<Cell>{kDecode}, 1);
  EXPECT_DOUBLE_EQ(results[0].fraction_of_limit.value(), 0.4);
  subject.limits = {1000, 3000};
  subject.pauses = {{.limit = 8000}, {.limit = 4000}};
  EXPECT_DOUBLE_EQ(
      measure_cells(subject, std::vector<Cell>{kDecode}, 1)[0].fraction_of_limit.value(), 0.2);
}

TEST(Measure, MediansAreOverRunsAndOverTheirOwnFractions) {
  FakeSubject subject;
  subject.slowdown = 2;                    // 1, 2, 4 seconds: 100, 50, 25 tokens per second
  subject.limits = {1000, 1000, 0, 1000};  // means 1000, 500, 500: fractions 1, 1, 0.5
  const auto results = measure_cells(subject, std::vector<Cell>{kPrefill}, 3);
  ASSERT_EQ(results[0].samples.size(), 3U);
  EXPECT_EQ(results[0].samples[0].tokens_per_s, 100);
  EXPECT_EQ(results[0].samples[2].tokens_per_s, 25);
  EXPECT_EQ(results[0].samples[1].meanwhile.read_bytes_per_s, 1000);
  EXPECT_EQ(results[0].tokens_per_s, 50);
  EXPECT_DOUBLE_EQ(results[0].fraction_of_limit.value(), 1);
}

TEST(Measure, WithoutLimitOrCostThereIsNoFraction) {
  FakeSubject no_limit;
  EXPECT_FALSE(measure_cells(no_limit, std::vector<Cell>{kPrefill}, 2)[0].fraction_of_limit);
  FakeSubject no_cost;
  no_cost.cost = std::nullopt;
  no_cost.limits = {1, 1, 1, 1};
  EXPECT_FALSE(measure_cells(no_cost, std::vector<Cell>{kPrefill}, 2)[0].fraction_of_limit);
}

TEST(Measure, RunThatTookNoTimeIsABugNotInfinity) {
  FakeSubject subject;
  subject.next_seconds = 0;
  EXPECT_THROW(measure_cells(subject, std::vector<Cell>{kPrefill}, 1), Error);
  subject.next_seconds = std::nan("");
  EXPECT_THROW(measure_cells(subject, std::vector<Cell>{kPrefill}, 1), Error);
}

TEST(Measure, ProgressGrowsToTheTotal) {
  FakeSubject subject;
  subject.cost = std::nullopt;
  double last = 0;
  double sum = 0;
  const std::vector<Cell> cells = {kPrefill, kDecode, {.phase = Phase::Decode, .tokens = 5}};
  measure_cells(subject, cells, 3, [&](const Cell&, double done, double total) {
    EXPECT_GE(done, last);
    last = done;
    sum = total;
  });
  EXPECT_GT(sum, 0);
  EXPECT_DOUBLE_EQ(last, sum);
}

TEST(Measure, NoRepetitionIsRefused) {
  FakeSubject subject;
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "repetitions: found 0",
                                  [&] { measure_cells(subject, std::vector<Cell>{}, 0); }));
}

}  // namespace
}  // namespace fathom::bench
