#include "fathom/compute/ops/balance_loss.h"

#include <cmath>
#include <numeric>

#include "tests/unit/compute/ops/terms_testing.h"

namespace fathom::ops {
namespace {

class BalanceLoss : public TermsTest {
 protected:
  static constexpr Index kExperts = 5;
  static constexpr Index kChosen = 2;

  // A step whose bias sends every row to the last experts, whatever their scores.
  Step step(bool is_by_score = true) {
    return [=, this](Context& context, const std::vector<tensor::Tensor>& operands) {
      const Routes routes = route_top_k(context, operands[0], bias_, kChosen, 1.5);
      balance_experts(context, operands[0], routes, 0, is_by_score);
      return routes.weights;
    };
  }

  std::vector<float> bias_ = {0, 0, 0, 100, 100};
};

TEST_F(BalanceLoss, IsOneWhereAllExpertsAreAlikeAndMoreWhereSomeArePreferred) {
  add({4, kExperts});
  // Ties go to the lower experts, so the counts are not even, but the mean scores are.
  std::fill(numbers(0).begin(), numbers(0).end(), 0.5);
  const TrainingTerms terms{.pieces = {{0, 4, 3}}, .layers = {}, .d_balance_loss = 1};
  EXPECT_NEAR(forward(terms, step()).balance_loss, 3, 1e-12);
  for (std::size_t row = 0; row < 4; ++row) {
    numbers(0)[row * to_size(kExperts)] = 30;
    numbers(0)[row * to_size(kExperts) + 1] = 30;
  }
  // f is 5 / 2 of the first two, whose share of the scores is nearly all.
  const double score = std::sqrt(std::log1p(std::exp(0.5)));
  const double share = 2 * std::sqrt(30) / (2 * std::sqrt(30) + 3 * score);
  EXPECT_NEAR(forward(terms, step()).balance_loss, 3 * 2.5 * share, 1e-12);
}

TEST_F(BalanceLoss, IsThatOfEveryPieceAloneTimesItsWeight) {
  add({7, kExperts}, 2);
  const auto loss_of = [&](const std::vector<TrainingTerms::Piece>& pieces) {
    return forward({.pieces = pieces, .layers = {}, .d_balance_loss = 1}, step()).balance_loss;
  };
  const double first = loss_of({{0, 3, 1}});
  const double second = loss_of({{3, 4, 1}});
  EXPECT_NEAR(loss_of({{0, 3, 2}, {3, 4, 0.25}}), 2 * first + 0.25 * second, 1e-12);
  EXPECT_NE(first, second);
}

TEST_F(BalanceLoss, MeetsCentralDifferencesAndCountsOnce) {
  add({7, kExperts}, 2);
  TrainingTerms terms{.pieces = {{0, 3, 2}, {3, 4, 0.25}}, .layers = {}, .d_balance_loss = 0.3};
  const auto gradients = backward(terms, step());
  const auto expected = forward(terms, step());
  EXPECT_EQ(terms.layers[0].balance_loss, expected.balance_loss);
  EXPECT_EQ(terms.layers[0].expert_tokens, expected.expert_tokens);
  expect_slopes(0, gradients[0], 0.3, [&] { return forward(terms, step()).balance_loss; });
}

TEST_F(BalanceLoss, CountsTheRowsThatChoseAnExpertWithTheBias) {
  add({7, kExperts}, 2);
  const TrainingTerms terms{.pieces = {{0, 7, 1}}, .layers = {}, .d_balance_loss = 0};
  const auto sums = forward(terms, step());
  EXPECT_EQ(sums.expert_tokens, (std::vector<double>{0, 0, 0, 7, 7}));
  EXPECT_EQ(sums.balance_loss, 0);
}

TEST_F(BalanceLoss, IsNothingForARouterThatDoesNotGoByScore) {
  add({7, kExperts}, 2);
  TrainingTerms terms{.pieces = {{0, 7, 1}}, .layers = {}, .d_balance_loss = 1};
  const auto gradients = backward(terms, step(false));
  EXPECT_EQ(terms.layers[0].balance_loss, 0);
  EXPECT_EQ(gradients[0], std::vector<double>(7 * to_size(kExperts)));
  EXPECT_EQ(terms.layers[0].expert_tokens, (std::vector<double>{0, 0, 0, 7, 7}));
}

}  // namespace
}  // namespace fathom::ops
