#include "fathom/train/loop/metrics.h"

#include <limits>

#include <gtest/gtest.h>

namespace fathom::train {
namespace {

StepResult result_of(Index step, double loss) {
  StepResult result;
  result.step = step;
  result.loss = loss;
  result.gradient_norm = 2;
  result.learning_rate = 1e-3;
  result.sums.weight = 4;
  result.sums.mtp_loss = 12;
  result.sums.expert_tokens = {{1, 3}, {2, 2}};
  return result;
}

std::string step(Index step, double loss, bool with_experts = false) {
  return step_line(result_of(step, loss), {.step = step, .tokens = 100 * step},
                   {.seconds = 1.5, .tokens_per_s = 50}, with_experts) +
         "\n";
}

TEST(Metrics, LinesAreReadBack) {
  Validation validation;
  validation.loss = 1.75;
  validation.standard_error = 0.25;
  const MetricsHistory history =
      parse_metrics(step(1, 3) + step(2, 2.5, true) + validation_line(2, validation, true) + "\n" +
                    note_line("resume", 2, "went on from \"x\"\xff") + "\n");
  ASSERT_EQ(history.steps.size(), 2U);
  EXPECT_EQ(history.steps[0].loss, 3);
  EXPECT_EQ(history.steps[1].tokens, 200);
  EXPECT_EQ(history.steps[1].mtp_loss, 3);
  EXPECT_EQ(history.steps[1].seconds, 1.5);
  EXPECT_EQ(history.steps[1].tokens_per_s, 50);
  EXPECT_EQ(history.steps[1].learning_rate, 1e-3);
  EXPECT_TRUE(history.steps[0].expert_shares.empty());
  EXPECT_EQ(history.steps[1].expert_shares,
            (std::vector<std::vector<double>>{{0.25, 0.75}, {0.5, 0.5}}));
  ASSERT_EQ(history.validations.size(), 1U);
  EXPECT_EQ(history.validations[0].standard_error, 0.25);
  EXPECT_EQ(loss_text(1.75, history.validations[0].standard_error), "1.7500 +- 0.2500");
  ASSERT_EQ(history.events.size(), 1U);
  EXPECT_EQ(history.num_unreadable, 0);
}

TEST(Metrics, AValidationOfOneBatchHasNoStandardError) {
  Validation validation;
  validation.loss = 1.75;
  const MetricsHistory history = parse_metrics(validation_line(2, validation, true));
  ASSERT_EQ(history.validations.size(), 1U);
  EXPECT_FALSE(history.validations[0].standard_error.has_value());
  EXPECT_EQ(loss_text(1.75, std::nullopt), "1.7500");
}

TEST(Metrics, ARollbackTakesItsStepsBack) {
  StepResult bad = result_of(3, std::numeric_limits<double>::quiet_NaN());
  bad.verdict = Verdict::NotFinite;
  const MetricsHistory history =
      parse_metrics(step(1, 5) + step(2, 4) + step(3, 3) + refused_line(bad, {}) + "\n" +
                    rollback_line(3, 1, {}) + "\n" + step(2, 4.5));
  ASSERT_EQ(history.steps.size(), 2U);
  EXPECT_EQ(history.steps[1].step, 2);
  EXPECT_EQ(history.steps[1].loss, 4.5);
  ASSERT_EQ(history.events.size(), 2U);
  EXPECT_NE(history.events[0].find("step 4: not a finite number"), std::string::npos);
  EXPECT_EQ(history.events[1], "went back from step 3 to step 1");
}

TEST(Metrics, LinesThatAreNoEventsAreCounted) {
  const MetricsHistory history = parse_metrics(
      "{\n[]\n{\"event\":\"step\"}\n{\"event\":3,\"step\":1}\n\n" + step(1, 5) + "{\"event\":\"st");
  EXPECT_EQ(history.steps.size(), 1U);
  EXPECT_EQ(history.num_unreadable, 6);
  EXPECT_EQ(parse_metrics("").num_unreadable, 0);
}

}  // namespace
}  // namespace fathom::train
