// The contract of ops/swiglu.h.
#include "fathom/compute/ops/swiglu.h"

#include "tests/contract/contract.h"

namespace fathom::testing {
namespace {

struct SwigluProblem {
  Index rows;
  Index columns;
  Rounding rounding;
  std::vector<float> gate;
  std::vector<float> up;
  std::vector<float> weight;  // empty: none
  double limit = 10;

  static SwigluProblem draw(Random& random, Index rows, Index columns, Rounding rounding) {
    return {rows,
            columns,
            rounding,
            random.normals(rows * columns, rounding, 8),
            random.normals(rows * columns, rounding, 8),
            random.normals(rows)};
  }
  SwigluProblem row(Index idx) const {
    SwigluProblem one = {
        1, columns, rounding, rows_of(gate, columns, idx), rows_of(up, columns, idx), {}, limit};
    if (!weight.empty()) {
      one.weight = {weight[to_size(idx)]};
    }
    return one;
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    // The op writes over its gate.
    Grid<Real> gates(rows, columns, 3, gate);
    Grid<Real> ups(rows, columns, 5, up);
    const std::vector<Real> weights(weight.begin(), weight.end());
    kernels.swiglu.run({.gate = gates.view(),
                        .up = ups.view(),
                        .weight = weight.empty() ? nullptr : weights.data(),
                        .limit = limit,
                        .rounding = rounding,
                        .out = gates.view()},
                       pool);
    return result_of<Real>(rows, gates);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    std::vector<double> limits;
    for (std::size_t i = 0; i < gate.size(); ++i) {
      const double value = expected.values[i];
      const double exponent = std::min(static_cast<double>(gate[i]), limit);
      const double row_weight =
          weight.empty() ? 1 : static_cast<double>(weight[i / to_size(columns)]);
      // A sigmoid below the normal numbers may be zero; so it is for all below exp(-104).
      const double underflow = underflow_limit(std::max(exponent, -104.0) * limit * row_weight);
      limits.push_back((exp_relative_limit(exponent, 0) + rounding_limit(5, 1)) * std::abs(value) +
                       underflow + (rounding == Rounding::Bf16 ? bf16_limit(1, value) : 0));
    }
    return limits;
  }
};

class Swiglu : public OnEveryBackend {};

TEST_P(Swiglu, KeepsTheContract) {
  Random random(41);
  for (const Index columns : {1, 15, 16, 128, 333}) {
    for (const Index rows : {1, 5, 40}) {
      for (const Rounding rounding : {Rounding::None, Rounding::Bf16}) {
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
        auto problem = SwigluProblem::draw(random, rows, columns, rounding);
        expect_contract(problem, GetParam());
        problem.weight.clear();
        problem.limit = 0.5;
        expect_contract(problem, GetParam());
      }
    }
  }
}

TEST_P(Swiglu, ExtremeGatesGiveZeroAndTheLimitInsteadOfNan) {
  std::vector<float> gates = {-1000, -200,   -100, -90, -80,  -20,   -1e-30F,
                              0,     1e-30F, 20,   90,  1000, 3e38F, -3e38F};
  const auto count = to_index(gates.size());
  std::vector<float> ups(gates.size(), 3);
  ups[0] = -1000;
  ups[11] = 1000;
  expect_contract(SwigluProblem{1, count, Rounding::None, gates, ups, {2}}, GetParam());
}

FATHOM_ON_EVERY_BACKEND(Swiglu);

TEST(SwigluMutation, AnotherLimitOrAForgottenWeightIsNoticed) {
  Random random(42);
  const auto problem = SwigluProblem::draw(random, 3, 64, Rounding::None);
  expect_notices(problem, &ops::KernelTable<float>::swiglu,
                 [](const ops::SwigluArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   wrong.limit = 10.001;
                   reference::swiglu(wrong, pool);
                 });
  expect_notices(problem, &ops::KernelTable<float>::swiglu,
                 [](const ops::SwigluArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   wrong.weight = nullptr;
                   reference::swiglu(wrong, pool);
                 });
}

}  // namespace
}  // namespace fathom::testing
