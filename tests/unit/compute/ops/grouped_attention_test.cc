#include "fathom/compute/ops/grouped_attention.h"

#include <cmath>
#include <numeric>

#include "tests/support/expect_error.h"
#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

class GroupedAttentions : public OpTest {
 protected:
  static constexpr Index kDim = 16;

  std::vector<float> attend(const std::vector<float>& query,
                            Index num_key_value_heads,
                            const std::vector<float>& keys,
                            const std::vector<float>& values,
                            const std::vector<Index>& num_visible) {
    const Index width = num_key_value_heads * kDim;
    const PagedTestRows key_rows(width, keys);
    const PagedTestRows value_rows(width, values);
    const Index rows = to_index(num_visible.size());
    const tensor::Shape shape = {rows, to_index(query.size()) / rows};
    const auto out = context().allocate(shape);
    const GroupedAttention attention = {.query = make(shape, query),
                                        .keys = key_rows.rows(),
                                        .values = value_rows.rows(),
                                        .num_visible = num_visible,
                                        .head_dim = kDim,
                                        .scale = 0.25,
                                        .out = out};
    grouped_attention(context(), {&attention, 1});
    return numbers(out);
  }
  // One head by the textbook, in double.
  static std::vector<double> textbook(const float* query,
                                      const std::vector<float>& keys,
                                      const std::vector<float>& values,
                                      std::size_t stride,
                                      std::size_t column,
                                      Index num_rows) {
    std::vector<double> out(to_size(kDim));
    double sum = 0;
    for (std::size_t row = 0; row < to_size(num_rows); ++row) {
      double score = 0;
      for (std::size_t i = 0; i < to_size(kDim); ++i) {
        score += 0.25 * static_cast<double>(query[i]) *
                 static_cast<double>(keys[row * stride + column + i]);
      }
      sum += std::exp(score);
      for (std::size_t i = 0; i < to_size(kDim); ++i) {
        out[i] += std::exp(score) * static_cast<double>(values[row * stride + column + i]);
      }
    }
    for (double& value : out) {
      value /= sum;
    }
    return out;
  }
};

TEST_F(GroupedAttentions, EveryHeadOfAGroupReadsTheGroupsKeysAndValues) {
  constexpr Index kHeads = 6;
  constexpr Index kShared = 2;
  const auto query = random(2 * kHeads * kDim);
  const auto keys = random(37 * kShared * kDim);
  const auto values = random(37 * kShared * kDim);
  const std::vector<Index> num_visible = {36, 37};
  const auto out = attend(query, kShared, keys, values, num_visible);
  for (Index token = 0; token < 2; ++token) {
    for (Index head = 0; head < kHeads; ++head) {
      const auto first = (token * kHeads + head) * kDim;
      const std::vector<float> found(out.begin() + first, out.begin() + first + kDim);
      EXPECT_TRUE(
          testing::all_within(found,
                              textbook(query.data() + first, keys, values, to_size(kShared * kDim),
                                       to_size(head / 3 * kDim), num_visible[to_size(token)]),
                              2e-6))
          << token << " " << head;
    }
  }
}

TEST_F(GroupedAttentions, OneVisibleRowIsItsValue) {
  const auto value = random(kDim);
  EXPECT_EQ(attend(random(kDim), 1, random(kDim), value, {1}), value);
}

TEST_F(GroupedAttentions, EqualKeysGiveTheMeanOfTheValues) {
  const std::vector<float> keys(3 * kDim, 1);
  const auto values = random(3 * kDim);
  const auto out = attend(random(kDim), 1, keys, values, {3});
  for (std::size_t i = 0; i < to_size(kDim); ++i) {
    EXPECT_NEAR(out[i], (values[i] + values[kDim + i] + values[2 * kDim + i]) / 3, 1e-6F);
  }
}

TEST_F(GroupedAttentions, HugeScoresDoNotOverflow) {
  auto keys = std::vector<float>(2 * kDim, 1);
  keys[0] = 2;
  auto values = random(2 * kDim);
  const auto out = attend(std::vector<float>(kDim, 1e5F), 1, keys, values, {2});
  values.resize(kDim);
  EXPECT_EQ(out, values);
}

TEST_F(GroupedAttentions, RowsThatAreNotThereAreABug) {
  for (const Index num_visible : {0, 4}) {
    EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "num_visible", [&] {
      attend(random(kDim), 1, random(3 * kDim), random(3 * kDim), {num_visible});
    }));
  }
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "width of query", [&] {
    attend(random(3 * kDim), 2, random(2 * kDim), random(2 * kDim), {1});
  }));
}

TEST(GroupedAttentionGradient, MeetsCentralDifferencesForEveryOperand) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    testing::GradientCheck check(seed);
    const Index shared = check.between(1, 2);
    const Index width = check.between(1, 5);
    const Index tokens = check.between(1, 20);  // more than a page of rows
    const auto query = check.add_value("query", {tokens, shared * check.between(1, 3) * width});
    const auto keys = check.add_value("keys", {tokens, shared * width});
    const auto values = check.add_value("values", {tokens, shared * width});
    std::vector<Index> visible(to_size(tokens));
    std::iota(visible.begin(), visible.end(), 1);
    EXPECT_TRUE(check.check([&](Context& context) {
      const testing::RowsOf key_rows(context.arena, check.value(keys));
      const testing::RowsOf value_rows(context.arena, check.value(values));
      const tensor::Tensor out = context.allocate(check.value(query).shape());
      const GroupedAttention attention = {.query = check.value(query),
                                          .keys = key_rows.view(),
                                          .values = value_rows.view(),
                                          .num_visible = visible,
                                          .head_dim = width,
                                          .scale = 0.7,
                                          .out = out};
      grouped_attention(context, {&attention, 1});
      return std::vector{out};
    })) << "seed "
        << seed;
  }
}

}  // namespace
}  // namespace fathom::ops
