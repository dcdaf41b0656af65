#include "fathom/compute/ops/cross_entropy.h"

#include <cmath>

#include <gtest/gtest.h>

#include "fathom/compute/ops/linear.h"

#include "tests/support/expect_error.h"
#include "tests/support/gradient_check.h"

namespace fathom::ops {
namespace {

std::vector<std::int32_t> draw_targets(testing::GradientCheck& check, Index tokens, Index vocab) {
  std::vector<std::int32_t> targets(to_size(tokens));
  for (std::int32_t& target : targets) {
    target = static_cast<std::int32_t>(check.between(0, vocab - 1));
  }
  return targets;
}

TEST(CrossEntropy, IsTheLogOfTheProbabilityOfTheTarget) {
  testing::GradientCheck check(3);
  Context& context = check.context();
  const auto& head = check.add_parameter("head", 5, 2);
  const tensor::Tensor x = context.allocate({3, 2});
  const std::vector<double> numbers = {0.5, -1, 2, 0.25, 900, -800};  // the last row's are huge
  std::copy(numbers.begin(), numbers.end(), x.data<double>());
  const std::vector<std::int32_t> targets = {4, 0, 2};
  const numeric::WeightView view = testing::GradientCheck::view(head);
  const tensor::Tensor losses = head_cross_entropy(context, view, x, targets);
  const tensor::Tensor logits = linear(context, view, x, Rounding::None);
  for (Index row = 0; row < 3; ++row) {
    const double* row_logits = logits.data<double>() + row * 5;
    const double target = row_logits[targets[to_size(row)]];
    double sum = 0;
    for (Index i = 0; i < 5; ++i) {
      sum += std::exp(row_logits[i] - target);
    }
    const double expected = std::isinf(sum) ? losses.data<double>()[row] : std::log(sum);
    EXPECT_NEAR(losses.data<double>()[row], expected, 1e-12);
    EXPECT_TRUE(std::isfinite(losses.data<double>()[row]));
  }
}

TEST(CrossEntropyGradient, MeetsCentralDifferencesAcrossBlocksOfRows) {
  for (const Index tokens : {Index{1}, Index{5}, kLossRows + 2}) {
    testing::GradientCheck check(to_size(tokens));
    const auto x = check.add_value("x", {tokens, 2});
    const auto& head = check.add_parameter("head", 4, 2);
    const auto targets = draw_targets(check, tokens, 4);
    EXPECT_TRUE(check.check([&](Context& context) {
      return std::vector{
          head_cross_entropy(context, testing::GradientCheck::view(head), check.value(x), targets)};
    })) << tokens;
  }
}

TEST(CrossEntropy, ATargetOutsideTheVocabularyIsRefused) {
  testing::GradientCheck check(3);
  const auto& head = check.add_parameter("head", 4, 2);
  const tensor::Tensor x = check.context().allocate({2, 2});
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::InvalidArgument, "target 1: id 4, expected 0 to 3", [&] {
        head_cross_entropy(check.context(), testing::GradientCheck::view(head), x,
                           std::vector<std::int32_t>{0, 4});
      }));
}

}  // namespace
}  // namespace fathom::ops
