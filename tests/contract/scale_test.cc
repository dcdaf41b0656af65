// The contract of ops/scale.h.
#include "fathom/compute/ops/scale.h"

#include "tests/contract/contract.h"

namespace fathom::testing {
namespace {

struct ScaleProblem {
  Index rows;
  Index columns;
  Rounding rounding;
  std::vector<float> x;
  float factor = 0.0110485F;

  static ScaleProblem draw(Random& random, Index rows, Index columns, Rounding rounding) {
    return {rows, columns, rounding, random.normals(rows * columns, rounding)};
  }
  ScaleProblem row(Index idx) const { return {1, columns, rounding, rows_of(x, columns, idx)}; }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> grid(rows, columns, 3, x);
    kernels.scale.run({.x = grid.view(), .factor = factor, .rounding = rounding}, pool);
    return result_of<Real>(rows, grid);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    return limits_by_value(expected, [&](double value) {
      return rounding_limit(1, std::abs(value)) +
             (rounding == Rounding::Bf16 ? bf16_limit(1, value) : 0);
    });
  }
};

class Scale : public OnEveryBackend {};

TEST_P(Scale, KeepsTheContract) {
  Random random(31);
  for (const Index columns : {1, 5, 16, 64, 257}) {
    for (const Index rows : {1, 4, 63}) {
      for (const Rounding rounding : {Rounding::None, Rounding::Bf16}) {
        expect_contract(ScaleProblem::draw(random, rows, columns, rounding), GetParam());
      }
    }
  }
}

FATHOM_ON_EVERY_BACKEND(Scale);

TEST(ScaleMutation, OneNumberLeftAloneIsNoticed) {
  Random random(32);
  expect_notices(ScaleProblem::draw(random, 2, 33, Rounding::None), &ops::KernelTable<float>::scale,
                 [](const ops::ScaleArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   wrong.x.columns -= 1;
                   reference::scale(wrong, pool);
                 });
}

}  // namespace
}  // namespace fathom::testing
