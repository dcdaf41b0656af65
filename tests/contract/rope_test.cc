// The contract of ops/rope.h: rope_table and rope.
#include "fathom/compute/ops/rope.h"

#include "tests/contract/contract.h"

namespace fathom::testing {
namespace {

struct RopeTableProblem {
  std::vector<Index> positions;
  std::vector<float> frequencies;
  Rounding rounding = Rounding::None;

  RopeTableProblem row(Index idx) const { return {{positions[to_size(idx)]}, frequencies}; }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> out(to_index(positions.size()), 2 * to_index(frequencies.size()), 3);
    kernels.rope_table.run(
        {.positions = positions, .frequencies = frequencies, .cos_sin = out.view()}, pool);
    return result_of<Real>(to_index(positions.size()), out);
  }
  // The angle is the same fp32 number everywhere: what is left is the function's last bit.
  std::vector<double> limits(const Result<double>& expected) const {
    return limits_by_value(expected, [](double /*value*/) { return kFloatEps; });
  }
};

struct RopeProblem {
  Index rows;
  Index num_heads;
  Index head_dim;
  Index rope_dim;
  bool is_inverse;
  ops::RopePairs pairs;
  Rounding rounding;
  std::vector<float> x;
  std::vector<float> cos_sin;

  static RopeProblem draw(Random& random,
                          Index rows,
                          Index num_heads,
                          Index head_dim,
                          Index rope_dim,
                          Rounding rounding) {
    RopeProblem problem = {rows,
                           num_heads,
                           head_dim,
                           rope_dim,
                           random.index(0, 1) == 1,
                           ops::RopePairs::Neighbours,
                           rounding,
                           {},
                           {}};
    problem.x = random.normals(rows * num_heads * head_dim, rounding);
    const auto angles = random.normals(rows * rope_dim / 2, Rounding::None, 3);
    for (Index row = 0; row < rows; ++row) {
      for (const bool is_sine : {false, true}) {
        for (Index pair = 0; pair < rope_dim / 2; ++pair) {
          const float angle = angles[to_size(row * rope_dim / 2 + pair)];
          problem.cos_sin.push_back(is_sine ? std::sin(angle) : std::cos(angle));
        }
      }
    }
    return problem;
  }
  RopeProblem row(Index idx) const {
    RopeProblem one = *this;
    one.rows = 1;
    one.x = rows_of(x, num_heads * head_dim, idx);
    one.cos_sin = rows_of(cos_sin, rope_dim, idx);
    return one;
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> grid(rows, num_heads * head_dim, 3, x);
    Grid<Real> table(rows, rope_dim, 5, cos_sin);
    kernels.rope.run({.x = grid.view(),
                      .head_dim = head_dim,
                      .cos_sin = table.view(),
                      .is_inverse = is_inverse,
                      .pairs = pairs,
                      .rounding = rounding},
                     pool);
    return result_of<Real>(rows, grid);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    const double pair = std::sqrt(2.0) * largest_of(x);
    return limits_by_value(expected, [&](double value) {
      return rounding_limit(3, pair) + (rounding == Rounding::Bf16 ? bf16_limit(1, value) : 0);
    });
  }
};

class Rope : public OnEveryBackend {};

TEST_P(Rope, TablesAreExactToTheLastBitUpToAMillionTokens) {
  Random random(51);
  const ops::YarnParameters yarn = {16, 65536, 32, 1};
  for (const Index rope_dim : {2, 6, 64, 70}) {
    RopeTableProblem problem = {{0, 1, 2, 3, 127, 4095, 65536, 1048575}, {}};
    for (int i = 0; i < 40; ++i) {
      problem.positions.push_back(random.index(0, Index{1} << 20));
    }
    problem.frequencies = ops::rope_frequencies(rope_dim, 1e4, nullptr).values;
    expect_contract(problem, GetParam());
    problem.frequencies = ops::rope_frequencies(rope_dim, 1.6e5, &yarn).values;
    expect_contract(problem, GetParam());
  }
}

TEST_P(Rope, KeepsTheContract) {
  Random random(52);
  struct Shape {
    Index rows, heads, head_dim, rope_dim;
  };
  for (const Shape& shape : {Shape{1, 1, 2, 2}, Shape{3, 5, 96, 64}, Shape{33, 1, 512, 64},
                             Shape{2, 3, 30, 6}, Shape{4, 2, 64, 64}, Shape{2, 7, 50, 34}}) {
    for (const Rounding rounding : {Rounding::None, Rounding::Bf16}) {
      SCOPED_TRACE(std::to_string(shape.rows) + " x " + std::to_string(shape.heads) + " x " +
                   std::to_string(shape.head_dim));
      auto problem = RopeProblem::draw(random, shape.rows, shape.heads, shape.head_dim,
                                       shape.rope_dim, rounding);
      for (const ops::RopePairs pairs : {ops::RopePairs::Neighbours, ops::RopePairs::Halves}) {
        problem.pairs = pairs;
        expect_contract(problem, GetParam());
        problem.is_inverse = !problem.is_inverse;
        expect_contract(problem, GetParam());
      }
    }
  }
}

FATHOM_ON_EVERY_BACKEND(Rope);

TEST(RopeMutation, TheOtherDirectionOtherPairsOrOnePositionOffIsNoticed) {
  Random random(53);
  expect_notices(RopeProblem::draw(random, 2, 2, 32, 16, Rounding::None),
                 &ops::KernelTable<float>::rope,
                 [](const ops::RopeArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   wrong.is_inverse = !args.is_inverse;
                   reference::rope(wrong, pool);
                 });
  expect_notices(RopeProblem::draw(random, 2, 2, 32, 16, Rounding::None),
                 &ops::KernelTable<float>::rope,
                 [](const ops::RopeArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   wrong.pairs = ops::RopePairs::Halves;
                   reference::rope(wrong, pool);
                 });
  const RopeTableProblem table = {{5, 70000}, ops::rope_frequencies(8, 1e4, nullptr).values};
  expect_notices(
      table, &ops::KernelTable<float>::rope_table,
      [](const ops::RopeTableArgs<float>& args, platform::ThreadPool& /*pool*/) noexcept {
        // The angle in double instead of fp32.
        for (Index row = 0; row < args.cos_sin.rows; ++row) {
          const Index pairs = args.cos_sin.columns / 2;
          for (Index pair = 0; pair < pairs; ++pair) {
            const double angle = static_cast<double>(args.positions[to_size(row)]) *
                                 static_cast<double>(args.frequencies[to_size(pair)]);
            args.cos_sin.row(row)[pair] = static_cast<float>(std::cos(angle));
            args.cos_sin.row(row)[pairs + pair] = static_cast<float>(std::sin(angle));
          }
        }
      });
}

}  // namespace
}  // namespace fathom::testing
