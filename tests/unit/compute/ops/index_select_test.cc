#include "fathom/compute/ops/index_select.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "fathom/compute/ops/top_k.h"

#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

class IndexSelect : public OpTest {
 protected:
  // One head of width 1 whose key is the score.
  std::vector<std::int32_t> select(const std::vector<float>& scores,
                                   std::vector<Index> num_visible,
                                   Index top_k) {
    const PagedTestRows keys(1, scores);
    const auto rows = to_index(num_visible.size());
    const std::vector<float> ones(to_size(rows), 1);
    return ids(index_select(context(),
                            {make({rows, 1}, ones), make({rows, 1}, ones), keys.rows(), {}},
                            num_visible, top_k));
  }
};

TEST_F(IndexSelect, TiesGoToTheLowerBlock) {
  EXPECT_EQ(select({1, 2, 3, 3, 3, 1}, {6}, 2), (std::vector<std::int32_t>{2, 3}));
  // All negative scores are cut to zero: a tie of all.
  EXPECT_EQ(select({-1, -5, -2, -3}, {4}, 3), (std::vector<std::int32_t>{0, 1, 2}));
}

TEST_F(IndexSelect, AllBlocksAreTakenWhenNoMoreAreVisible) {
  EXPECT_EQ(select({1, 9, 3, 4}, {0, 2, 3, 4}, 3),
            (std::vector<std::int32_t>{-1, -1, -1, 0, 1, -1, 0, 1, 2, 1, 2, 3}));
}

TEST_F(IndexSelect, OperandsAreNotLookedAtWhenEverythingIsTaken) {
  const PagedTestRows keys(1, {1, 2, 3});
  const std::vector<Index> num_visible = {1, 3};
  const auto chosen = index_select(context(), {{}, {}, keys.rows(), {}}, num_visible, 8);
  EXPECT_EQ(ids(chosen), (std::vector<std::int32_t>{0, -1, -1, 0, 1, 2}));
}

TEST_F(IndexSelect, InvisibleBlocksAreNotChosenHoweverGood) {
  EXPECT_EQ(select({1, 2, 3, 4, 99}, {4, 5}, 2), (std::vector<std::int32_t>{2, 3, 3, 4}));
}

TEST_F(IndexSelect, NanScoresLoseAgainstEveryNumber) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> scores = {nan, 1, nan, 2, nan, 3};
  std::int32_t out[4];
  select_top_k(scores.data(), 6, 4, out);
  EXPECT_EQ(std::vector<std::int32_t>(out, out + 4), (std::vector<std::int32_t>{0, 1, 3, 5}));
  std::fill(scores.begin(), scores.end(), nan);
  select_top_k(scores.data(), 6, 4, out);
  EXPECT_EQ(std::vector<std::int32_t>(out, out + 4), (std::vector<std::int32_t>{0, 1, 2, 3}));
}

TEST_F(IndexSelect, TopKAgreesWithSortingRandomScores) {
  for (int trial = 0; trial < 200; ++trial) {
    auto scores = random(30, 2);
    for (float& value : scores) {
      value = std::round(value);  // many ties
    }
    std::vector<std::int32_t> order(30);
    for (std::int32_t i = 0; i < 30; ++i) {
      order[to_size(i)] = i;
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](auto a, auto b) { return scores[to_size(a)] > scores[to_size(b)]; });
    order.resize(7);
    std::sort(order.begin(), order.end());
    std::vector<std::int32_t> out(7);
    select_top_k(scores.data(), 30, 7, out.data());
    ASSERT_EQ(out, order);
  }
}

TEST_F(IndexSelect, ScalingTheQueriesDoesNotChangeTheChoice) {
  const auto key_values = random(50 * 8);
  const PagedTestRows keys(8, key_values);
  const auto query = random(2 * 3 * 8);
  auto scaled = query;
  for (float& value : scaled) {
    value *= 4;
  }
  const auto weight = random(6);
  const std::vector<Index> num_visible = {50, 31};
  const auto one = index_select(
      context(), {make({2, 24}, query), make({2, 3}, weight), keys.rows(), {}}, num_visible, 9);
  const auto two = index_select(
      context(), {make({2, 24}, scaled), make({2, 3}, weight), keys.rows(), {}}, num_visible, 9);
  EXPECT_EQ(ids(one), ids(two));
}

TEST_F(IndexSelect, OfficialScoresAreRoundedToBf16SoThatNearTiesAreTies) {
  const std::vector<float> scores = {1, 1 + 0x1p-9F, 0};
  EXPECT_EQ(select(scores, {3}, 1), (std::vector<std::int32_t>{1}));
  use(kOfficial);
  EXPECT_EQ(select(scores, {3}, 1), (std::vector<std::int32_t>{0}));
}

}  // namespace
}  // namespace fathom::ops
