#include "fathom/compute/ops/distillation.h"

#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "fathom/compute/ops/head_blocks.h"

#include "tests/support/expect_error.h"
#include "tests/support/gradient_check.h"

namespace fathom::ops {
namespace {

using testing::GradientCheck;

std::vector<double> softmax(const double* logits, Index count, double temperature) {
  std::vector<double> powers;
  for (Index i = 0; i < count; ++i) {
    powers.push_back(std::exp(logits[i] / temperature));
  }
  const double sum = std::accumulate(powers.begin(), powers.end(), 0.0);
  std::transform(powers.begin(), powers.end(), powers.begin(),
                 [&](double power) { return power / sum; });
  return powers;
}

// A teacher of its own head over the same rows.
TopTokens teacher_of(Context& context,
                     const numeric::WeightView& head,
                     const tensor::Tensor& x,
                     Index k,
                     double temperature) {
  const TopTokens top = allocate_top_tokens(context, x.dim(0), k, temperature);
  head_top_log_probs(context, head, x, top);
  return top;
}

TEST(TopLogProbs, AreTheLikeliestTokensAndTheRestAtATemperature) {
  GradientCheck check(3);
  Context& context = check.context();
  const auto& head = check.add_parameter("head", 7, 3);
  const tensor::Tensor x = context.allocate({loss_rows(7) + 2, 3});
  for (Index i = 0; i < x.num_elements(); ++i) {
    x.data<double>()[i] = check.normal(2);
  }
  const TopTokens top = teacher_of(context, GradientCheck::view(head), x, 3, 1.7);
  const tensor::Tensor logits = linear(context, GradientCheck::view(head), x, Products::Fp32);
  for (Index row = 0; row < x.dim(0); ++row) {
    const auto p = softmax(logits.data<double>() + 7 * row, 7, 1.7);
    auto sorted = p;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    double sum = 0;
    for (Index idx = 0; idx < 3; ++idx) {
      const auto id = to_size(top.ids.data<std::int32_t>()[3 * row + idx]);
      EXPECT_GE(p[id], sorted[2]);
      EXPECT_NEAR(top.log_probs.data<double>()[4 * row + idx], std::log(p[id]), 1e-12);
      sum += p[id];
    }
    EXPECT_NEAR(std::exp(top.log_probs.data<double>()[4 * row + 3]), 1 - sum, 1e-12);
  }
}

TEST(TopLogProbs, OfTheWholeVocabularyLeaveNothing) {
  GradientCheck check(3);
  const auto& head = check.add_parameter("head", 4, 2);
  const tensor::Tensor x = check.context().allocate({1, 2});
  x.data<double>()[0] = 1;
  x.data<double>()[1] = 900;
  const TopTokens top = teacher_of(check.context(), GradientCheck::view(head), x, 4, 1);
  EXPECT_EQ(top.log_probs.data<double>()[4], -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(testing::fails_with(
      ErrorCode::InvalidArgument, "most likely tokens: 5, expected 1 to 4",
      [&] { teacher_of(check.context(), GradientCheck::view(head), x, 5, 1); }));
}

TEST(Distillation, IsTheDivergenceOfTheListedTokensAndTheRest) {
  GradientCheck check(5);
  Context& context = check.context();
  const auto& head = check.add_parameter("head", 6, 3);
  const auto& teacher_head = check.add_parameter("teacher", 6, 3);
  const tensor::Tensor x = context.allocate({4, 3});
  for (Index i = 0; i < x.num_elements(); ++i) {
    x.data<double>()[i] = check.normal();
  }
  for (const double temperature : {1.0, 2.5}) {
    const TopTokens top = teacher_of(context, GradientCheck::view(teacher_head), x, 2, temperature);
    const tensor::Tensor losses = head_distillation(context, GradientCheck::view(head), x, top);
    const tensor::Tensor logits = linear(context, GradientCheck::view(head), x, Products::Fp32);
    for (Index row = 0; row < 4; ++row) {
      const auto q = softmax(logits.data<double>() + 6 * row, 6, temperature);
      double expected = 0;
      double rest = 1;
      for (Index idx = 0; idx < 2; ++idx) {
        const double log_p = top.log_probs.data<double>()[3 * row + idx];
        const double student = q[to_size(top.ids.data<std::int32_t>()[2 * row + idx])];
        expected += std::exp(log_p) * (log_p - std::log(student));
        rest -= student;
      }
      const double log_p = top.log_probs.data<double>()[3 * row + 2];
      expected += std::exp(log_p) * (log_p - std::log(rest));
      EXPECT_NEAR(losses.data<double>()[row], temperature * temperature * expected, 1e-12);
    }
  }
}

TEST(Distillation, OfOneselfIsZero) {
  GradientCheck check(5);
  const auto& head = check.add_parameter("head", 6, 3);
  const tensor::Tensor x = check.context().allocate({1, 3});
  const std::vector<double> numbers = {300, -200, 100};  // whose rest is nearly nothing
  std::copy(numbers.begin(), numbers.end(), x.data<double>());
  const numeric::WeightView view = GradientCheck::view(head);
  const TopTokens top = teacher_of(check.context(), view, x, 2, 1);
  EXPECT_NEAR(head_distillation(check.context(), view, x, top).data<double>()[0], 0, 1e-12);
}

TEST(DistillationGradient, MeetsCentralDifferencesAcrossBlocksOfRows) {
  for (const Index tokens : {Index{1}, Index{5}, loss_rows(4) + 2}) {
    for (const Index k : {Index{1}, Index{2}, Index{4}}) {
      GradientCheck check(to_size(10 * tokens + k));
      const auto x = check.add_value("x", {tokens, 2});
      const auto& head = check.add_parameter("head", 4, 2);
      // Frozen, and over the rows as they were drawn.
      const auto& teacher_head = check.add_parameter("teacher", 4, 2, 1, false);
      const std::vector<double> drawn = check.numbers(x);
      EXPECT_TRUE(check.check([&](Context& context) {
        const tensor::Tensor rows = context.allocate({tokens, 2});
        std::copy(drawn.begin(), drawn.end(), rows.data<double>());
        const TopTokens top = teacher_of(context, GradientCheck::view(teacher_head), rows, k, 1.5);
        return std::vector{
            head_distillation(context, GradientCheck::view(head), check.value(x), top)};
      })) << tokens
          << " tokens, " << k;
    }
  }
}

TEST(Distillation, ATeacherOfAnotherVocabularyIsRefused) {
  GradientCheck check(3);
  const auto& head = check.add_parameter("head", 4, 2);
  const tensor::Tensor x = check.context().allocate({1, 2});
  const TopTokens top = allocate_top_tokens(check.context(), 1, 1, 1);
  top.ids.data<std::int32_t>()[0] = 4;
  EXPECT_TRUE(testing::fails_with(
      ErrorCode::InvalidArgument, "teacher: token id 4, expected 0 to 3",
      [&] { head_distillation(check.context(), GradientCheck::view(head), x, top); }));
}

}  // namespace
}  // namespace fathom::ops
