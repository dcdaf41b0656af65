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
  bool are_rows_bf16 = false;

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
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const;
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

// A problem's numbers as a kernel gets them.
template <typename Real>
class Operands {
 public:
  explicit Operands(const AttentionProblem& problem)
      : problem_(problem),
        queries_(problem.rows, problem.num_heads * problem.head_dim, 3, problem.query),
        out_(problem.rows, problem.num_heads * problem.head_dim, 5),
        keys_(num_rows(problem), problem.row_width(), problem.keys),
        values_(num_rows(problem), problem.row_width(), problem.values),
        bf16_keys_(num_rows(problem), problem.row_width(), problem.keys),
        bf16_values_(num_rows(problem), problem.row_width(), problem.values) {}

  ops::GroupedAttentionArgs<Real> args() {
    return {.query = queries_.view(),
            .keys = problem_.are_rows_bf16 ? bf16_keys_.view() : keys_.view(),
            .values = problem_.are_rows_bf16 ? bf16_values_.view() : values_.view(),
            .num_visible = problem_.num_visible,
            .head_dim = problem_.head_dim,
            .scale = problem_.scale(),
            .out = out_.view()};
  }
  Result<Real> result() const { return result_of<Real>(problem_.rows, out_); }

 private:
  static Index num_rows(const AttentionProblem& problem) {
    return to_index(problem.keys.size()) / problem.row_width();
  }

  const AttentionProblem& problem_;
  Grid<Real> queries_;
  Grid<Real> out_;
  Pages<Real> keys_;
  Pages<Real> values_;
  Pages<std::uint16_t> bf16_keys_;
  Pages<std::uint16_t> bf16_values_;
};

// The problems as sequences of one step.
template <typename Real>
std::vector<Result<Real>> run_together(std::span<const AttentionProblem> problems,
                                       const ops::KernelTable<Real>& kernels,
                                       platform::ThreadPool& pool) {
  std::vector<std::unique_ptr<Operands<Real>>> operands;
  std::vector<ops::GroupedAttentionArgs<Real>> sequences;
  Index columns = 0;
  for (const AttentionProblem& problem : problems) {
    operands.push_back(std::make_unique<Operands<Real>>(problem));
    sequences.push_back(operands.back()->args());
    columns = std::max(columns, sequences.back().scratch_columns());
  }
  Grid<Real> scratch(pool.num_threads(), columns, 0);
  kernels.grouped_attention.run({.sequences = sequences, .scratch = scratch.view()}, pool);
  std::vector<Result<Real>> results;
  for (const auto& of_problem : operands) {
    results.push_back(of_problem->result());
  }
  return results;
}

template <typename Real>
Result<Real> AttentionProblem::run(const ops::KernelTable<Real>& kernels,
                                   platform::ThreadPool& pool) const {
  return run_together<Real>({this, 1}, kernels, pool).front();
}

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

// The same with numbers that BF16 holds, in rows of it.
AttentionProblem with_bf16_rows(AttentionProblem problem) {
  for (std::vector<float>* numbers : {&problem.keys, &problem.values}) {
    for (float& number : *numbers) {
      number = numeric::round_bf16(number);
    }
  }
  problem.are_rows_bf16 = true;
  return problem;
}

// Groups of 1, 2, 3, 5 and 8 heads: tiles of queries within one token and across several.
constexpr Shape kShapes[] = {
    {1, 1, 1, 16, 0},
    {1, 9, 3, 64, 70},
    {3, 5, 1, 40, 14},
    {2, 4, 4, 7, 33},
    {33, 6, 3, 32, 0},
    {7, 8, 1, 96, 15},
    {5, 3, 3, 64, 16},
    {1, 32, 8, 128, 300},
    {17, 10, 2, 8, 40},
    {40, 9, 3, 64, 90},
    {70, 2, 1, 20, 0},
    // Several blocks of rows, a token that ends one, tokens on both sides of an end.
    {1, 9, 3, 64, 700},
    {1, 6, 2, 24, 255},
    {4, 9, 3, 40, 510},
    {24, 4, 2, 20, 500},
};

class GroupedAttention : public OnEveryBackend {};

TEST_P(GroupedAttention, KeepsTheContract) {
  Random random(121);
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(std::to_string(shape.rows) + " tokens from " +
                 std::to_string(shape.first_position) + ", " + std::to_string(shape.num_heads) +
                 " heads of " + std::to_string(shape.head_dim) + ", " +
                 std::to_string(shape.num_key_value_heads) + " of keys and values");
    const AttentionProblem problem = draw(random, shape);
    expect_contract(problem, GetParam());
    expect_contract(with_bf16_rows(problem), GetParam());
  }
}

TEST_P(GroupedAttention, RowsOfBf16GiveTheBitsOfTheirNumbersInFp32) {
  Random random(127);
  for (const Shape& shape : kShapes) {
    AttentionProblem problem = with_bf16_rows(draw(random, shape));
    runtime::Runtime& runtime = runtime_of(GetParam(), 2);
    const auto in_bf16 = problem.run<float>(runtime.context().f32, runtime.pool());
    problem.are_rows_bf16 = false;
    const auto in_fp32 = problem.run<float>(runtime.context().f32, runtime.pool());
    EXPECT_TRUE(is_same(in_bf16.values, in_fp32.values)) << shape.first_position;
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

TEST_P(GroupedAttention, ASequenceOfAStepIsAsAlone) {
  Random random(126);
  std::vector<AttentionProblem> problems;
  for (const auto& [rows, first_position] :
       {std::pair<Index, Index>{1, 70}, {1, 0}, {40, 3}, {2, 300}, {7, 16}, {1, 800}}) {
    problems.push_back(draw(random, {rows, 6, 2, 32, first_position}));
  }
  for (const int num_threads : {1, 2, 3}) {
    runtime::Runtime& runtime = runtime_of(GetParam(), num_threads);
    const auto together = run_together<float>(problems, runtime.context().f32, runtime.pool());
    for (std::size_t idx = 0; idx < problems.size(); ++idx) {
      const auto alone = problems[idx].run<float>(runtime.context().f32, runtime.pool());
      EXPECT_TRUE(is_same(together[idx].values, alone.values)) << idx;
      EXPECT_TRUE(together[idx].is_padding_untouched) << idx;
    }
  }
}

FATHOM_ON_EVERY_BACKEND(GroupedAttention);

using Args = ops::GroupedAttentionsArgs<float>;

// Runs the reference on a changed sequence.
template <typename Change>
void run_wrong(const Args& args, platform::ThreadPool& pool, const Change& change) noexcept {
  ops::GroupedAttentionArgs<float> wrong = args.sequences.front();
  change(wrong);
  reference::grouped_attention<float>({.sequences = {&wrong, 1}, .scratch = args.scratch}, pool);
}

TEST(GroupedAttentionMutation, AForgottenRowIsNoticed) {
  Random random(123);
  expect_notices(draw(random, {12, 4, 2, 32, 2}), &ops::KernelTable<float>::grouped_attention,
                 [](const Args& args, platform::ThreadPool& pool) noexcept {
                   const auto visible = args.sequences.front().num_visible;
                   std::vector<Index> fewer(visible.begin(), visible.end());
                   for (Index& count : fewer) {
                     count -= count > 1 ? 1 : 0;
                   }
                   run_wrong(args, pool, [&](auto& wrong) { wrong.num_visible = fewer; });
                 });
}

TEST(GroupedAttentionMutation, ValuesInPlaceOfKeysAreNoticed) {
  Random random(124);
  expect_notices(draw(random, {3, 4, 2, 32, 9}), &ops::KernelTable<float>::grouped_attention,
                 [](const Args& args, platform::ThreadPool& pool) noexcept {
                   run_wrong(args, pool, [](auto& wrong) { wrong.keys = wrong.values; });
                 });
}

TEST(GroupedAttentionMutation, HeadsDealtInTurnInsteadOfInGroupsAreNoticed) {
  Random random(125);
  expect_notices(draw(random, {3, 4, 2, 32, 9}), &ops::KernelTable<float>::grouped_attention,
                 [](const Args& args, platform::ThreadPool& pool) noexcept {
                   reference::grouped_attention(args, pool);
                   // Heads 1 and 2 of four exchange their groups.
                   const auto& sequence = args.sequences.front();
                   for (Index row = 0; row < sequence.out.rows; ++row) {
                     float* out = sequence.out.row(row);
                     std::swap_ranges(out + sequence.head_dim, out + 2 * sequence.head_dim,
                                      out + 2 * sequence.head_dim);
                   }
                 });
}

}  // namespace
}  // namespace fathom::testing
