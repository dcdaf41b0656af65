// The contract of ops/rms_norm.h: rms_norm and head_norm.
#include "fathom/compute/ops/rms_norm.h"

#include "tests/contract/contract.h"

namespace fathom::testing {
namespace {

struct RmsNormProblem {
  Index rows;
  Index columns;
  Rounding rounding;
  std::vector<float> x;
  std::vector<float> weight;
  double epsilon = 1e-6;
  bool is_in_place = false;

  static RmsNormProblem draw(Random& random, Index rows, Index columns, Rounding rounding) {
    return {rows, columns, rounding, random.normals(rows * columns, rounding),
            random.normals(columns)};
  }
  RmsNormProblem row(Index idx) const {
    RmsNormProblem one = *this;
    one.rows = 1;
    one.x = rows_of(x, columns, idx);
    return one;
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> input(rows, columns, 5, x);
    Grid<Real> other(rows, columns, 3);
    Grid<Real>& out = is_in_place ? input : other;
    kernels.rms_norm.run({.x = input.view(),
                          .weight = weight,
                          .epsilon = epsilon,
                          .rounding = rounding,
                          .out = out.view()},
                         pool);
    return result_of<Real>(rows, out);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    return limits_by_value(expected, [&](double value) {
      return rounding_limit(columns + 4, std::abs(value)) +
             (rounding == Rounding::Bf16 ? bf16_limit(1, value) : 0);
    });
  }
};

struct HeadNormProblem {
  Index rows;
  Index columns;
  Rounding rounding;
  std::vector<float> x;
  double epsilon = 1e-6;

  static HeadNormProblem draw(Random& random, Index rows, Index columns, Rounding rounding) {
    return {rows, columns, rounding, random.normals(rows * columns, rounding)};
  }
  HeadNormProblem row(Index idx) const { return {1, columns, rounding, rows_of(x, columns, idx)}; }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> grid(rows, columns, 7, x);
    kernels.head_norm.run({.x = grid.view(), .epsilon = epsilon, .rounding = rounding}, pool);
    return result_of<Real>(rows, grid);
  }
  // The mean, its sum with epsilon, the factor and the product are rounded; the squares of BF16
  // numbers are exact in fp32 and round alike.
  std::vector<double> limits(const Result<double>& expected) const {
    return limits_by_value(expected, [&](double value) {
      return rounding_limit(columns + 4, std::abs(value)) +
             (rounding == Rounding::Bf16 ? bf16_limit(4, value) : 0);
    });
  }
};

constexpr std::pair<Index, Index> kShapes[] = {{1, 1},   {1, 16},  {3, 15},  {2, 17},   {5, 128},
                                               {33, 64}, {4, 129}, {2, 512}, {17, 200}, {1, 4096}};

class RmsNorm : public OnEveryBackend {};

TEST_P(RmsNorm, KeepsTheContract) {
  Random random(1);
  for (const auto& [rows, columns] : kShapes) {
    for (const Rounding rounding : {Rounding::None, Rounding::Bf16}) {
      SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
      auto problem = RmsNormProblem::draw(random, rows, columns, rounding);
      expect_contract(problem, GetParam());
      problem.is_in_place = true;
      expect_contract(problem, GetParam());
      expect_contract(HeadNormProblem::draw(random, rows, columns, rounding), GetParam());
    }
  }
}

TEST_P(RmsNorm, ZeroRowStaysZeroInsteadOfBecomingNan) {
  const RmsNormProblem norm = {2, 40, Rounding::None, std::vector<float>(80),
                               std::vector<float>(40, 1)};
  expect_contract(norm, GetParam());
  const HeadNormProblem head = {2, 40, Rounding::Bf16, std::vector<float>(80)};
  expect_contract(head, GetParam());
}

TEST_P(RmsNorm, NoRowsAreNoWork) {
  Random random(2);
  expect_contract(RmsNormProblem::draw(random, 0, 32, Rounding::None), GetParam());
}

FATHOM_ON_EVERY_BACKEND(RmsNorm);

TEST(RmsNormMutation, LargerEpsilonOrAForgottenNumberIsNoticed) {
  Random random(3);
  expect_notices(RmsNormProblem::draw(random, 3, 64, Rounding::None),
                 &ops::KernelTable<float>::rms_norm,
                 [](const ops::RmsNormArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   wrong.epsilon = 1e-2;
                   reference::rms_norm(wrong, pool);
                 });
  expect_notices(HeadNormProblem::draw(random, 3, 64, Rounding::None),
                 &ops::KernelTable<float>::head_norm,
                 [](const ops::HeadNormArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   wrong.x.columns -= 1;
                   reference::head_norm(wrong, pool);
                 });
}

}  // namespace
}  // namespace fathom::testing
