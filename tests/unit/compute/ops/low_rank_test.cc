#include "fathom/compute/ops/low_rank.h"

#include <gtest/gtest.h>

#include "fathom/compute/ops/linear.h"

#include "tests/support/expect_error.h"
#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

class LowRank : public OpTest {
 protected:
  static numeric::WeightView view(const std::vector<float>& values, Index rows) {
    numeric::WeightView result;
    result.rows = rows;
    result.columns = to_index(values.size()) / rows;
    result.data = reinterpret_cast<const std::byte*>(values.data());
    result.row_stride_bytes = 4 * result.columns;
    return result;
  }
  const std::vector<float> a_ = {1, 2, 0, 1};        // [2, 2]
  const std::vector<float> b_ = {1, 0, 0, 1, 1, 1};  // [3, 2]
};

TEST_F(LowRank, AddsScaleTimesBTimesATimesX) {
  const auto y = make({2, 3}, {100, 100, 100, 0, 0, 0});
  add_low_rank(context(), {view(a_, 2), view(b_, 3), 0.5}, make({2, 2}, {1, 10, 2, 0}), {.y = y});
  EXPECT_EQ(numbers(y), (std::vector<float>{110.5, 105, 115.5, 1, 0, 1}));
}

TEST_F(LowRank, LeavesOtherColumnsAlone) {
  const auto y = make({1, 5}, {7, 0, 0, 0, 7});
  add_low_rank(context(), {view(a_, 2), view(b_, 3), 2}, make({1, 2}, {1, 10}),
               {.y = y, .first_column = 1});
  EXPECT_EQ(numbers(y), (std::vector<float>{7, 42, 20, 62, 7}));
}

// 256 + 1/2 is no BF16 number; what is added is not rounded before.
TEST_F(LowRank, OfficialNumericsRoundTheSumOnce) {
  const std::vector<float> one = {1};
  use(kOfficial);
  const auto y = make({1, 1}, {256});
  add_low_rank(context(), {view(one, 1), view(one, 1), 1}, make({1, 1}, {1.01F}),
               {.y = y, .rounding = Rounding::Bf16});
  EXPECT_EQ(numbers(y), (std::vector<float>{258}));
}

TEST_F(LowRank, GroupsShareAAndHaveRowsOfB) {
  const std::vector<float> b = {1, 0, 0, 1};  // two groups of [1, 2]
  const auto y = make({1, 2}, {0, 0});
  add_low_rank_grouped(context(), {view(a_, 2), view(b, 2), 1}, make({1, 4}, {1, 10, 3, 5}), 2,
                       {.y = y});
  EXPECT_EQ(numbers(y), (std::vector<float>{21, 5}));
}

TEST_F(LowRank, ExpertsAddToTheirSlots) {
  const std::vector<float> other_a = {0, 0, 3, 0};
  const numeric::WeightView a[] = {view(a_, 2), view(other_a, 2)};
  const numeric::WeightView b[] = {view(b_, 3), view(b_, 3)};
  const std::vector<std::int32_t> source = {1, 0, 1};
  const std::vector<std::int32_t> offsets = {0, 1, 3};
  const auto y = make({3, 3}, std::vector<float>(9, 1));
  add_low_rank_experts(context(), {a, b, 1}, {make({2, 2}, {1, 10, 2, 4}), source, offsets},
                       {.y = y});
  EXPECT_EQ(numbers(y), (std::vector<float>{11, 5, 15, 1, 4, 4, 1, 7, 7}));
}

TEST_F(LowRank, ATokenAloneIsThatTokenAmongOthers) {
  const auto a = random(5 * 70);
  const auto b = random(33 * 5);
  const auto x = make({19, 70}, random(19 * 70));
  const auto start = random(19 * 33);
  const auto together = make({19, 33}, start);
  add_low_rank(context(), {view(a, 5), view(b, 33), 0.3}, x, {.y = together});
  const auto alone = make({19, 33}, start);
  for (Index token = 0; token < 19; ++token) {
    add_low_rank(context(), {view(a, 5), view(b, 33), 0.3}, x.slice(token, 1),
                 {.y = alone.slice(token, 1)});
  }
  EXPECT_EQ(numbers(alone), numbers(together));
  EXPECT_NE(numbers(alone), start);
}

TEST_F(LowRank, ShapesThatDoNotFitAreNamed) {
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::Internal, "low_rank: columns of x is 3, expected 2", [&] {
        add_low_rank(context(), {view(a_, 2), view(b_, 3), 1}, make({1, 3}, {1, 2, 3}),
                     {.y = make({1, 3}, {0, 0, 0})});
      }));
}

TEST(LowRankGradient, MeetsCentralDifferencesBesideALinear) {
  testing::GradientCheck check(1);
  const auto x = check.add_value("x", {5, 6});
  const auto& weight = check.add_parameter("weight", 7, 6, 1, false);  // frozen
  const auto& a = check.add_parameter("a", 3, 6);
  const auto& b = check.add_parameter("b", 7, 3);
  EXPECT_TRUE(check.check([&](Context& context) -> std::vector<tensor::Tensor> {
    const auto y = linear(context, check.view(weight), check.value(x), Products::Fp32);
    add_low_rank(context, {check.view(a), check.view(b), 0.75}, check.value(x), {.y = y});
    return {y};
  }));
}

TEST(LowRankGradient, MeetsCentralDifferencesBesideColumns) {
  testing::GradientCheck check(2);
  const auto x = check.add_value("x", {4, 6});
  const auto& left = check.add_parameter("left", 3, 6);
  const auto& right = check.add_parameter("right", 3, 6);
  const auto& a = check.add_parameter("a", 2, 6);
  const auto& b = check.add_parameter("b", 3, 2);
  EXPECT_TRUE(check.check([&](Context& context) -> std::vector<tensor::Tensor> {
    const auto y = context.allocate({4, 6});
    const numeric::WeightView weights[] = {check.view(left), check.view(right)};
    linear_side_by_side(context, weights, check.value(x), Products::Fp32, y);
    add_low_rank(context, {check.view(a), check.view(b), 2}, check.value(x),
                 {.y = y, .first_column = 3});
    return {y};
  }));
}

TEST(LowRankGradient, MeetsCentralDifferencesBesideAGroupedLinear) {
  testing::GradientCheck check(3);
  const auto x = check.add_value("x", {5, 8});
  const auto& weight = check.add_parameter("weight", 6, 4);  // two groups of [3, 4]
  const auto& a = check.add_parameter("a", 2, 4);
  const auto& b = check.add_parameter("b", 6, 2);
  EXPECT_TRUE(check.check([&](Context& context) -> std::vector<tensor::Tensor> {
    const auto y = grouped_linear(context, check.view(weight), check.value(x), 2, Products::Fp32);
    add_low_rank_grouped(context, {check.view(a), check.view(b), 1.5}, check.value(x), 2, {.y = y});
    return {y};
  }));
}

TEST(LowRankGradient, MeetsCentralDifferencesBesideExperts) {
  testing::GradientCheck check(4);
  const auto x = check.add_value("x", {3, 4});
  std::vector<numeric::WeightView> weights;
  std::vector<numeric::WeightView> a;
  std::vector<numeric::WeightView> b;
  for (const char* expert : {"0", "1", "2"}) {
    weights.push_back(check.view(check.add_parameter(std::string("weight") + expert, 5, 4)));
    a.push_back(check.view(check.add_parameter(std::string("a") + expert, 2, 4)));
    b.push_back(check.view(check.add_parameter(std::string("b") + expert, 5, 2)));
  }
  const std::vector<std::int32_t> source = {0, 2, 0, 1, 2};
  const std::vector<std::int32_t> offsets = {0, 2, 2, 5};  // the second expert has no slot
  EXPECT_TRUE(check.check([&](Context& context) -> std::vector<tensor::Tensor> {
    const auto y = expert_linear(context, weights, check.value(x), source, offsets, Products::Fp32);
    add_low_rank_experts(context, {a, b, 0.5}, {check.value(x), source, offsets}, {.y = y});
    return {y};
  }));
}

}  // namespace
}  // namespace fathom::ops
