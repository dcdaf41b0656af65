#include "fathom/compute/ops/route.h"

#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "fathom/compute/ops/scalar_rows.h"

#include "tests/support/expect_error.h"
#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

double score(double logit) {
  return std::sqrt(std::log1p(std::exp(logit)));
}

class Router : public OpTest {};

TEST_F(Router, TiesGoToTheLowerExpertIndex) {
  const std::vector<float> bias(6);
  const auto routes =
      route_top_k(context(), make({2, 6}, {1, 2, 2, 2, 0, 2, 0, 0, 0, 0, 0, 0}), bias, 3, 1);
  EXPECT_EQ(ids(routes.ids), (std::vector<std::int32_t>{1, 2, 3, 0, 1, 2}));
}

TEST_F(Router, BiasChangesTheChoiceButNotTheWeights) {
  const auto logits = make({1, 4}, {2, 1, 0, -1});
  const auto plain = route_top_k(context(), logits, std::vector<float>(4), 2, 1);
  EXPECT_EQ(ids(plain.ids), (std::vector<std::int32_t>{0, 1}));
  const auto same = route_top_k(context(), logits, std::vector<float>{0.3F, 0.2F, 0, 0}, 2, 1);
  EXPECT_EQ(ids(same.ids), ids(plain.ids));
  EXPECT_EQ(numbers(same.weights), numbers(plain.weights));
  const auto other = route_top_k(context(), logits, std::vector<float>{0, 0, 0, 5}, 2, 1);
  EXPECT_EQ(ids(other.ids), (std::vector<std::int32_t>{0, 3}));
  const double sum = score(2) + score(-1);
  EXPECT_TRUE(testing::all_within(numbers(other.weights),
                                  std::vector<double>{score(2) / sum, score(-1) / sum}, 1e-6));
}

TEST_F(Router, WeightsSumToTheRouteScaleAndIdsAscend) {
  const auto routes =
      route_top_k(context(), make({40, 16}, random(640, 3)), random(16, 0.1F), 6, 2.5);
  const auto weights = numbers(routes.weights);
  const auto chosen = ids(routes.ids);
  for (std::size_t row = 0; row < 40; ++row) {
    EXPECT_NEAR(std::accumulate(weights.begin() + static_cast<Index>(6 * row),
                                weights.begin() + static_cast<Index>(6 * row + 6), 0.0F),
                2.5F, 2e-6F);
    for (std::size_t i = 1; i < 6; ++i) {
      EXPECT_LT(chosen[6 * row + i - 1], chosen[6 * row + i]);
    }
  }
}

TEST_F(Router, SameTokenGetsTheSameExpertsWhateverTheHiddenState) {
  const std::vector<std::int32_t> table = {5, 2, 0, 7, 3, 4};  // three tokens, two experts
  const std::vector<std::int32_t> tokens = {2, 0, 2};
  const auto logits = random(24);
  const auto routes = route_by_table(context(), make({3, 8}, logits), table, tokens, 2, 1.5);
  EXPECT_EQ(ids(routes.ids), (std::vector<std::int32_t>{3, 4, 2, 5, 3, 4}));
  // The scores still weigh.
  const double third = score(static_cast<double>(logits[3]));
  const double fourth = score(static_cast<double>(logits[4]));
  EXPECT_NEAR(static_cast<double>(numbers(routes.weights)[0]), 1.5 * third / (third + fourth),
              1e-6);
}

TEST_F(Router, ScoresAreTheSpecifications) {
  // Two experts: w0 / w1 is the quotient of their scores.
  const double known[][2] = {{0, .832554611}, {20, 4.472135955}, {-20, 4.5400e-5}};
  for (const auto& [logit, expected] : known) {
    const auto routes = route_top_k(context(), make({1, 2}, {static_cast<float>(logit), 0}),
                                    std::vector<float>(2), 2, 1);
    const auto weights = numbers(routes.weights);
    const double quotient = static_cast<double>(weights[0]) / static_cast<double>(weights[1]);
    EXPECT_NEAR(quotient * .832554611 / expected, 1, 1e-5) << logit;
  }
}

TEST_F(Router, TokenOutsideTheTableIsABug) {
  const std::vector<std::int32_t> table = {0, 1};
  const std::vector<std::int32_t> tokens = {1};
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "table", [&] {
    route_by_table(context(), make({1, 2}, {0, 0}), table, tokens, 2, 1);
  }));
}

class ExpertSlot : public OpTest {
 protected:
  tensor::Tensor make_ids(const tensor::Shape& shape, const std::vector<std::int32_t>& values) {
    auto tensor = tensor::Tensor::allocate(context().arena, tensor::DType::I32, shape);
    std::copy(values.begin(), values.end(), tensor.data<std::int32_t>());
    return tensor;
  }
};

TEST_F(ExpertSlot, AreSortedByExpertInTheOrderOfTokens) {
  const auto slots = sort_by_expert(context(), make_ids({3, 2}, {1, 3, 0, 3, 1, 3}), 5);
  EXPECT_EQ(ids(slots.offsets), (std::vector<std::int32_t>{0, 1, 3, 3, 6, 6}));
  EXPECT_EQ(ids(slots.source), (std::vector<std::int32_t>{1, 0, 2, 0, 1, 2}));
  EXPECT_EQ(ids(slots.slot_of), (std::vector<std::int32_t>{1, 3, 0, 4, 2, 5}));
}

TEST_F(ExpertSlot, ValuesAreScatteredToTheirSlotsAndCombinedBack) {
  const auto slot_of = make_ids({2, 2}, {2, 0, 1, 3});
  const auto scattered = scatter_to_slots(context(), make({2, 2}, {1, 2, 3, 4}), slot_of);
  EXPECT_EQ(numbers(scattered), (std::vector<float>{2, 3, 1, 4}));
  EXPECT_EQ(numbers(scatter_to_slots(context(), make({2, 2}, {1, 2, 3, 4}), slot_of, 2)),
            (std::vector<float>{2, 3, 1, 4, 1, 1}));
  const auto combined =
      combine_experts(context(), scattered.reshape({4, 1}), slot_of, make({2, 1}, {10, 20}));
  EXPECT_EQ(numbers(combined), (std::vector<float>{13, 27}));
}

TEST_F(ExpertSlot, OfficialSumIsRoundedOnceAtTheEnd) {
  use(kOfficial);
  // 1 + 2^-9 + 2^-9 = 1 + 2^-8, a tie to the even 1; rounding after each sum gives 1 as well, but
  // with three such terms only the single rounding reaches 1 + 2^-7.
  const auto slot_of = make_ids({1, 3}, {0, 1, 2});
  const auto combined = combine_experts(context(), make({3, 1}, {1, 0x1p-9F, 0x1p-9F}), slot_of,
                                        make({1, 1}, {0x1p-9F}));
  EXPECT_EQ(numbers(combined), (std::vector<float>{1 + 0x1p-7F}));
}

TEST(RouteGradient, MeetsCentralDifferencesByScoreAndByTable) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    testing::GradientCheck check(seed);
    const Index experts = check.between(2, 8);
    const Index chosen = check.between(1, experts);
    const Index tokens = check.between(1, 4);
    const auto logits = check.add_value("logits", {tokens, experts}, 3);
    // The bias makes every choice a clear one, whatever the scores.
    std::vector<float> bias;
    std::vector<std::int32_t> table;
    for (Index expert = 0; expert < experts; ++expert) {
      bias.push_back(static_cast<float>(100 * expert));
    }
    std::vector<std::int32_t> ids(to_size(tokens));
    for (Index token = 0; token < tokens; ++token) {
      ids[to_size(token)] = static_cast<std::int32_t>(token);
      for (Index idx = 0; idx < chosen; ++idx) {
        table.push_back(static_cast<std::int32_t>((token + idx) % experts));
      }
    }
    EXPECT_TRUE(check.check([&](Context& context) {
      return std::vector{route_top_k(context, check.value(logits), bias, chosen, 1.5).weights};
    })) << "seed "
        << seed;
    EXPECT_TRUE(check.check([&](Context& context) {
      return std::vector{
          route_by_table(context, check.value(logits), table, ids, chosen, 2.5).weights};
    })) << "seed "
        << seed;
  }
}

TEST(RouteGradient, IsZeroNotANumberlessWhereAScoreUnderflows) {
  EXPECT_EQ(sqrt_softplus_slope(-2000.0), 0);
  EXPECT_NEAR(sqrt_softplus_slope(25.0), 0.1, 1e-9);
}

TEST(CombineExpertsGradient, MeetsCentralDifferencesFromTheRoutingWeightsOn) {
  testing::GradientCheck check(7);
  const auto weights = check.add_value("weights", {3, 2});
  const auto slots = check.add_value("slots", {6, 4});
  const auto shared = check.add_value("shared", {3, 4});
  EXPECT_TRUE(check.check([&](Context& context) {
    const tensor::Tensor ids = tensor::Tensor::allocate(context.arena, tensor::DType::I32, {3, 2});
    const std::vector<std::int32_t> chosen = {1, 2, 0, 2, 1, 2};
    std::copy(chosen.begin(), chosen.end(), ids.data<std::int32_t>());
    const ExpertSlots sorted = sort_by_expert(context, ids, 3);
    const tensor::Tensor scattered =
        scatter_to_slots(context, check.value(weights), sorted.slot_of, 2);
    return std::vector{scattered, combine_experts(context, check.value(slots), sorted.slot_of,
                                                  check.value(shared))};
  }));
}

}  // namespace
}  // namespace fathom::ops
