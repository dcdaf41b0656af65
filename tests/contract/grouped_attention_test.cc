// The contract of ops/grouped_attention.h.
#include "fathom/compute/ops/grouped_attention.h"

#include "tests/contract/contract.h"

namespace fathom::testing {
namespace {

struct AttentionProblem {
  Index rows;
  Index num_heads;
  Index num_key_value_heads;
  Index head_dim;
  std::vector<float> query;
  std::vector<float> keys;
  std::vector<float> values;
  std::vector<Index> num_visible;
  Rounding rounding = Rounding::None;

  Index row_width() const { return num_key_value_heads * head_dim; }
  double scale() const { return 1 / std::sqrt(static_cast<double>(head_dim)); }
  Index most_visible() const { return *std::max_element(num_visible.begin(), num_visible.end()); }
  AttentionProblem row(Index idx) const {
    AttentionProblem one = *this;
    one.rows = 1;
    one.query = rows_of(query, num_heads * head_dim, idx);
    one.num_visible = {num_visible[to_size(idx)]};
    return one;
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> queries(rows, num_heads * head_dim, 3, query);
    Grid<Real> out(rows, num_heads * head_dim, 5);
    const Index num_rows = to_index(keys.size()) / row_width();
    const Pages<Real> key_pages(num_rows, row_width(), keys);
    const Pages<Real> value_pages(num_rows, row_width(), values);
    Grid<Real> scratch(pool.num_threads(),
                       ops::GroupedAttentionArgs<Real>::scratch_columns(head_dim, most_visible()),
                       0);
    kernels.grouped_attention.run({.query = queries.view(),
                                   .keys = key_pages.table(),
                                   .values = value_pages.table(),
                                   .num_visible = num_visible,
                                   .head_dim = head_dim,
                                   .scale = scale(),
                                   .scratch = scratch.view(),
                                   .out = out.view()},
                                  pool);
    return result_of<Real>(rows, out);
  }
  // As in the contract of sink_attention: exponents are dot products, known to the error of their
  // sums; the weights sum to 1 and multiply values.
  std::vector<double> limits(const Result<double>& expected) const {
    double query_norm = 0;
    for (Index head = 0; head < rows * num_heads; ++head) {
      query_norm = std::max(query_norm, norm_of(query.data() + head * head_dim, head_dim));
    }
    double key_norm = 0;
    for (std::size_t first = 0; first < keys.size(); first += to_size(head_dim)) {
      key_norm = std::max(key_norm, norm_of(keys.data() + first, head_dim));
    }
    const double exponent = query_norm * key_norm * scale();
    const double relative =
        exp_relative_limit(2 * exponent, 2 * rounding_limit(head_dim, exponent)) +
        rounding_limit(2 * most_visible(), 1);
    const double largest = largest_of(values);
    return limits_by_value(expected, [&](double /*value*/) { return relative * largest; });
  }
};

struct Shape {
  Index rows;
  Index num_heads;
  Index num_key_value_heads;
  Index head_dim;
  Index first_position;
};

// Tokens at positions first_position.., each seeing itself and all before it.
AttentionProblem draw(Random& random, const Shape& shape) {
  AttentionProblem problem = {};
  problem.rows = shape.rows;
  problem.num_heads = shape.num_heads;
  problem.num_key_value_heads = shape.num_key_value_heads;
  problem.head_dim = shape.head_dim;
  problem.query = random.normals(shape.rows * shape.num_heads * shape.head_dim);
  const Index num_tokens = shape.first_position + shape.rows;
  problem.keys = random.normals(num_tokens * problem.row_width());
  problem.values = random.normals(num_tokens * problem.row_width());
  for (Index row = 0; row < shape.rows; ++row) {
    problem.num_visible.push_back(shape.first_position + row + 1);
  }
  return problem;
}

// Groups of 1, 2, 3, 5 and 8 heads: tiles of queries within one token and across several.
constexpr Shape kShapes[] = {
    {1, 1, 1, 16, 0},   {1, 9, 3, 64, 70},  {3, 5, 1, 40, 14}, {2, 4, 4, 7, 33},
    {33, 6, 3, 32, 0},  {7, 8, 1, 96, 15},  {5, 3, 3, 64, 16}, {1, 32, 8, 128, 300},
    {17, 10, 2, 8, 40}, {40, 9, 3, 64, 90}, {70, 2, 1, 20, 0},
};

class GroupedAttention : public OnEveryBackend {};

TEST_P(GroupedAttention, KeepsTheContract) {
  Random random(121);
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(std::to_string(shape.rows) + " tokens from " +
                 std::to_string(shape.first_position) + ", " + std::to_string(shape.num_heads) +
                 " heads of " + std::to_string(shape.head_dim) + ", " +
                 std::to_string(shape.num_key_value_heads) + " of keys and values");
    expect_contract(draw(random, shape), GetParam());
  }
}

// Queries are computed in tiles; what a later token sees must not reach an earlier one.
TEST_P(GroupedAttention, InfinityInALaterRowDoesNotReachEarlierTokens) {
  Random random(122);
  auto problem = draw(random, {8, 2, 1, 32, 5});
  runtime::Runtime& runtime = runtime_of(GetParam(), 1);
  const auto clean = problem.run<float>(runtime.context().f32, runtime.pool());
  for (std::size_t i = problem.values.size() - 32; i < problem.values.size(); ++i) {
    problem.keys[i] = problem.values[i] = std::numeric_limits<float>::infinity();
  }
  const auto found = problem.run<float>(runtime.context().f32, runtime.pool());
  for (Index row = 0; row < 7; ++row) {
    EXPECT_TRUE(is_same(found.row(row), clean.row(row))) << row;
  }
}

FATHOM_ON_EVERY_BACKEND(GroupedAttention);

using Args = ops::GroupedAttentionArgs<float>;

TEST(GroupedAttentionMutation, AForgottenRowIsNoticed) {
  Random random(123);
  expect_notices(draw(random, {12, 4, 2, 32, 2}), &ops::KernelTable<float>::grouped_attention,
                 [](const Args& args, platform::ThreadPool& pool) noexcept {
                   std::vector<Index> fewer(args.num_visible.begin(), args.num_visible.end());
                   for (Index& count : fewer) {
                     count -= count > 1 ? 1 : 0;
                   }
                   auto wrong = args;
                   wrong.num_visible = fewer;
                   reference::grouped_attention(wrong, pool);
                 });
}

TEST(GroupedAttentionMutation, ValuesInPlaceOfKeysAreNoticed) {
  Random random(124);
  expect_notices(draw(random, {3, 4, 2, 32, 9}), &ops::KernelTable<float>::grouped_attention,
                 [](const Args& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   wrong.keys = args.values;
                   reference::grouped_attention(wrong, pool);
                 });
}

TEST(GroupedAttentionMutation, HeadsDealtInTurnInsteadOfInGroupsAreNoticed) {
  Random random(125);
  expect_notices(draw(random, {3, 4, 2, 32, 9}), &ops::KernelTable<float>::grouped_attention,
                 [](const Args& args, platform::ThreadPool& pool) noexcept {
                   reference::grouped_attention(args, pool);
                   // Heads 1 and 2 of four exchange their groups.
                   for (Index row = 0; row < args.out.rows; ++row) {
                     float* out = args.out.row(row);
                     std::swap_ranges(out + args.head_dim, out + 2 * args.head_dim,
                                      out + 2 * args.head_dim);
                   }
                 });
}

}  // namespace
}  // namespace fathom::testing
