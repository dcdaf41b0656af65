// The contract of ops/cross_entropy.h, and its gradient through the head.
#include "fathom/compute/ops/cross_entropy.h"

#include <cmath>
#include <limits>

#include "fathom/compute/ops/head_blocks.h"

#include "tests/contract/contract.h"
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
  const tensor::Tensor logits = linear(context, view, x, Products::Fp32);
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
  for (const Index tokens : {Index{1}, Index{5}, loss_rows(4) + 2}) {
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

namespace fathom::testing {
namespace {

// The losses, or the gradient of the logits.
struct LossProblem {
  Index columns;
  std::vector<float> logits;
  std::vector<std::int32_t> targets;
  std::vector<float> d_losses;
  bool is_backward;
  Rounding rounding = Rounding::None;

  Index rows() const { return to_index(targets.size()); }
  LossProblem row(Index idx) const {
    return {columns, rows_of(logits, columns, idx), rows_of(targets, 1, idx),
            rows_of(d_losses, 1, idx), is_backward};
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> numbers(rows(), columns, 3, logits);
    if (is_backward) {
      const std::vector<Real> d(d_losses.begin(), d_losses.end());
      kernels.training.cross_entropy_backward.run(
          {.logits = numbers.view(), .targets = targets, .d_losses = d.data()}, pool);
      return result_of<Real>(rows(), numbers);
    }
    Grid<Real> losses(rows(), 1, 0);
    kernels.training.cross_entropy.run(
        {.logits = numbers.view(), .targets = targets, .losses = losses.view().data}, pool);
    return result_of<Real>(rows(), losses);
  }
  // A probability is as exact as an exponential and a sum of them; a loss as its logarithm, next to
  // the logits that it is the difference of.
  std::vector<double> limits(const Result<double>& expected) const {
    std::vector<double> limits;
    for (Index row = 0; row < rows(); ++row) {
      const std::vector<float> numbers = rows_of(logits, columns, row);
      const double size = largest_of(numbers);
      const double probability = exp_relative_limit(2 * size, 0) + rounding_limit(columns, 1);
      if (!is_backward) {
        limits.push_back(probability + rounding_limit(4, 2 * size + 1));
      }
      const double d_loss = std::abs(static_cast<double>(d_losses[to_size(row)]));
      for (Index i = 0; is_backward && i < columns; ++i) {
        const double share = std::abs(expected.values[to_size(row * columns + i)]) +
                             (i == targets[to_size(row)] ? d_loss : 0);
        limits.push_back(probability * share + underflow_limit(d_loss));
      }
    }
    return limits;
  }
};

LossProblem loss_problem(Random& random, Index rows, Index columns, bool is_backward) {
  LossProblem problem = {columns,
                         random.normals(rows * columns, Rounding::None, 4),
                         {},
                         random.normals(rows),
                         is_backward};
  for (Index row = 0; row < rows; ++row) {
    problem.targets.push_back(static_cast<std::int32_t>(random.index(0, columns - 1)));
  }
  return problem;
}

class CrossEntropyKernels : public OnEveryBackend {};

TEST_P(CrossEntropyKernels, KeepTheContract) {
  Random random(201);
  for (const bool is_backward : {false, true}) {
    for (const Index columns : {1, 5, 16, 33, 1000}) {
      for (const Index rows : {0, 1, 7}) {
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
        LossProblem problem = loss_problem(random, rows, columns, is_backward);
        expect_contract(problem, GetParam());
        for (float& logit : problem.logits) {
          logit *= 100;  // most probabilities are none in fp32
        }
        expect_contract(problem, GetParam());
      }
    }
  }
}

// Rows of their own classes: NaN anywhere makes NaN, -infinity is a probability of zero, infinity
// is no number less itself.
TEST_P(CrossEntropyKernels, NanAndInfinityAreNotHidden) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  Random random(202);
  for (const bool is_backward : {false, true}) {
    for (const Index columns : {3, 16, 50}) {
      LossProblem problem = loss_problem(random, 8, columns, is_backward);
      const auto put = [&](Index row, Index column, float value) {
        problem.logits[to_size(row * columns + column)] = value;
      };
      put(0, 0, kNan);
      put(1, columns - 1, kNan);
      put(2, 1, kInfinity);
      put(3, 1, -kInfinity);
      problem.targets[3] = 0;
      put(4, 1, -kInfinity);
      problem.targets[4] = 1;  // its loss is infinite
      for (Index column = 0; column < columns; ++column) {
        put(5, column, -kInfinity);
      }
      problem.d_losses[6] = kNan;
      const auto expected = problem.run<float>(runtime_of("reference", 1).context().f32,
                                               runtime_of("reference", 1).pool());
      runtime::Runtime& runtime = runtime_of(GetParam(), 2);
      const auto found = problem.run<float>(runtime.context().f32, runtime.pool());
      for (std::size_t i = 0; i < expected.values.size(); ++i) {
        ASSERT_EQ(std::isnan(found.values[i]), std::isnan(expected.values[i])) << i;
        ASSERT_EQ(std::isinf(found.values[i]), std::isinf(expected.values[i])) << i;
      }
    }
  }
}

FATHOM_ON_EVERY_BACKEND(CrossEntropyKernels);

}  // namespace
}  // namespace fathom::testing
