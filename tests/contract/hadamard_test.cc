// The contract of ops/hadamard.h.
#include "fathom/compute/ops/hadamard.h"

#include "tests/contract/contract.h"

namespace fathom::testing {
namespace {

struct HadamardProblem {
  Index rows;
  Index columns;
  Rounding rounding;
  std::vector<float> x;

  static HadamardProblem draw(Random& random, Index rows, Index columns, Rounding rounding) {
    return {rows, columns, rounding, random.normals(rows * columns, rounding)};
  }
  HadamardProblem row(Index idx) const { return {1, columns, rounding, rows_of(x, columns, idx)}; }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> grid(rows, columns, 3, x);
    kernels.hadamard.run({.x = grid.view(), .rounding = rounding}, pool);
    return result_of<Real>(rows, grid);
  }
  // log2(columns) additions and a product, of numbers that the row's norm bounds.
  std::vector<double> limits(const Result<double>& expected) const {
    std::vector<double> limits;
    const Index stages = std::countr_zero(to_size(columns)) + 1;
    for (Index i = 0; i < rows * columns; ++i) {
      const double norm = norm_of(x.data() + i / columns * columns, columns);
      const double value = expected.values[to_size(i)];
      limits.push_back(rounding_limit(stages, norm) +
                       (rounding == Rounding::Bf16 ? bf16_limit(1, value) : 0));
    }
    return limits;
  }
};

class Hadamard : public OnEveryBackend {};

TEST_P(Hadamard, KeepsTheContract) {
  Random random(11);
  for (const Index columns : {1, 2, 4, 8, 16, 32, 64, 128, 512}) {
    for (const Index rows : {1, 3, 67}) {
      for (const Rounding rounding : {Rounding::None, Rounding::Bf16}) {
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
        expect_contract(HadamardProblem::draw(random, rows, columns, rounding), GetParam());
      }
    }
  }
}

FATHOM_ON_EVERY_BACKEND(Hadamard);

TEST(HadamardMutation, OneWrongSignIsNoticed) {
  Random random(12);
  expect_notices(HadamardProblem::draw(random, 2, 32, Rounding::None),
                 &ops::KernelTable<float>::hadamard,
                 [](const ops::HadamardArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   args.x.row(1)[5] = -args.x.row(1)[5];
                   reference::hadamard(args, pool);
                 });
}

}  // namespace
}  // namespace fathom::testing
