// The contract of ops/route.h: route and combine_experts.
#include "fathom/compute/ops/route.h"

#include "tests/contract/contract.h"

namespace fathom::testing {
namespace {

struct RouteProblem {
  Index rows;
  Index num_experts;
  Index num_chosen;
  std::vector<float> logits;
  std::vector<float> bias;          // empty with a table
  std::vector<std::int32_t> table;  // empty with a bias
  std::vector<std::int32_t> tokens;
  Rounding rounding = Rounding::None;

  // Logits on a coarse grid: equal, or further apart than any rounding.
  static RouteProblem draw(Random& random, Index rows, Index num_experts, Index num_chosen) {
    RouteProblem problem = {rows, num_experts, num_chosen, {}, {}, {}, {}};
    for (Index i = 0; i < rows * num_experts; ++i) {
      problem.logits.push_back(static_cast<float>(random.index(-160, 160)) / 32.0F);
    }
    const bool has_bias = random.index(0, 1) == 1;
    for (Index i = 0; i < num_experts; ++i) {
      problem.bias.push_back(has_bias ? random.normal(0.1) : 0.0F);
    }
    return problem;
  }
  static RouteProblem draw_table(Random& random, Index rows, Index num_experts, Index num_chosen) {
    RouteProblem problem = draw(random, rows, num_experts, num_chosen);
    problem.bias.clear();
    constexpr Index kVocab = 23;
    for (Index token = 0; token < kVocab; ++token) {
      const Index first = random.index(0, num_experts - 1);
      for (Index chosen = 0; chosen < num_chosen; ++chosen) {
        problem.table.push_back(static_cast<std::int32_t>((first + chosen) % num_experts));
      }
    }
    for (Index row = 0; row < rows; ++row) {
      problem.tokens.push_back(static_cast<std::int32_t>(random.index(0, kVocab - 1)));
    }
    return problem;
  }
  RouteProblem row(Index idx) const {
    RouteProblem one = *this;
    one.rows = 1;
    one.logits = rows_of(logits, num_experts, idx);
    if (!tokens.empty()) {
      one.tokens = {tokens[to_size(idx)]};
    }
    return one;
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> grid(rows, num_experts, 3, logits);
    Grid<std::int32_t> ids(rows, num_chosen, 2);
    Grid<Real> weights(rows, num_chosen, 1);
    kernels.route.run({.logits = grid.view(),
                       .bias = bias,
                       .table = table,
                       .tokens = tokens,
                       .scale = 1.5,
                       .ids = ids.view(),
                       .weights = weights.view()},
                      pool);
    return result_of<Real>(rows, ids, weights);
  }
  // Ids are exact; weights are positive quotients of sqrt(log(1 + exp(x))).
  std::vector<double> limits(const Result<double>& expected) const {
    std::vector<double> limits;
    const double relative =
        exp_relative_limit(largest_of(logits), 0) + rounding_limit(num_chosen + 6, 1);
    for (Index i = 0; i < rows * 2 * num_chosen; ++i) {
      const bool is_id = i % (2 * num_chosen) < num_chosen;
      limits.push_back(is_id ? 0 : relative * std::abs(expected.values[to_size(i)]));
    }
    return limits;
  }
};

struct CombineProblem {
  Index rows;
  Index num_chosen;
  Index width;
  Rounding rounding;
  std::vector<float> slots;
  std::vector<std::int32_t> slot_of;
  std::vector<float> shared;

  static CombineProblem draw(
      Random& random, Index rows, Index num_chosen, Index width, Rounding rounding) {
    CombineProblem problem = {rows,
                              num_chosen,
                              width,
                              rounding,
                              random.normals(rows * num_chosen * width, rounding),
                              {},
                              random.normals(rows * width, rounding)};
    for (Index i = 0; i < rows * num_chosen; ++i) {
      problem.slot_of.push_back(static_cast<std::int32_t>(i));
    }
    for (std::size_t i = problem.slot_of.size(); i > 1; --i) {
      std::swap(problem.slot_of[i - 1], problem.slot_of[to_size(random.index(0, to_index(i) - 1))]);
    }
    return problem;
  }
  CombineProblem row(Index idx) const {
    CombineProblem one = *this;
    one.rows = 1;
    one.slot_of = rows_of(slot_of, num_chosen, idx);
    one.shared = rows_of(shared, width, idx);
    return one;
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> slots_grid(to_index(slots.size()) / width, width, 3, slots);
    Grid<std::int32_t> slot_of_grid(rows, num_chosen, 1, slot_of);
    Grid<Real> shared_grid(rows, width, 5, shared);
    Grid<Real> out(rows, width, 2);
    kernels.combine_experts.run({.slots = slots_grid.view(),
                                 .slot_of = slot_of_grid.view(),
                                 .shared = shared_grid.view(),
                                 .rounding = rounding,
                                 .out = out.view()},
                                pool);
    return result_of<Real>(rows, out);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    const double magnitude = std::max(largest_of(slots), largest_of(shared)) *
                             std::sqrt(static_cast<double>(num_chosen + 1));
    return limits_by_value(expected, [&](double value) {
      return rounding_limit(num_chosen + 1, magnitude) +
             (rounding == Rounding::Bf16 ? bf16_limit(1, value) : 0);
    });
  }
};

class Route : public OnEveryBackend {};

TEST_P(Route, KeepsTheContract) {
  Random random(81);
  for (const auto& [num_experts, num_chosen] :
       {std::pair<Index, Index>{1, 1}, {8, 2}, {12, 3}, {31, 6}, {256, 6}, {5, 5}}) {
    for (const Index rows : {1, 4, 61}) {
      SCOPED_TRACE(std::to_string(num_chosen) + " of " + std::to_string(num_experts));
      expect_contract(RouteProblem::draw(random, rows, num_experts, num_chosen), GetParam());
      expect_contract(RouteProblem::draw_table(random, rows, num_experts, num_chosen), GetParam());
    }
  }
}

TEST_P(Route, TiesGoToTheLowerExpertOnEveryInstructionSet) {
  RouteProblem problem = {2,  40, 6, std::vector<float>(80, 0.25F), std::vector<float>(40, 0.0F),
                          {}, {}};
  problem.logits[39] = problem.logits[20] = 1;
  expect_contract(problem, GetParam());
}

TEST_P(Route, LogitsOfAnySizeGiveFiniteWeights) {
  RouteProblem problem = {1,  6, 6, {-80, -20, 0, 20.5F, 80, 3e4F}, std::vector<float>(6, 0.0F),
                          {}, {}};
  expect_contract(problem, GetParam());
}

TEST_P(Route, CombineKeepsTheContract) {
  Random random(82);
  for (const Index width : {1, 16, 100, 257}) {
    for (const Rounding rounding : {Rounding::None, Rounding::Bf16}) {
      expect_contract(CombineProblem::draw(random, 23, 6, width, rounding), GetParam());
      expect_contract(CombineProblem::draw(random, 1, 1, width, rounding), GetParam());
    }
  }
}

FATHOM_ON_EVERY_BACKEND(Route);

TEST(RouteMutation, ABiasThatWeighsOrAForgottenExpertIsNoticed) {
  Random random(83);
  expect_notices(RouteProblem::draw(random, 4, 16, 3), &ops::KernelTable<float>::route,
                 [](const ops::RouteArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   reference::route(args, pool);
                   args.weights.row(2)[1] += 0.001F;
                 });
  auto biased = RouteProblem::draw(random, 40, 16, 3);
  for (float& bias : biased.bias) {
    bias = random.normal();
  }
  expect_notices(biased, &ops::KernelTable<float>::route,
                 [](const ops::RouteArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   static const std::vector<float> none(16);
                   wrong.bias = none;
                   reference::route(wrong, pool);
                 });
  expect_notices(
      CombineProblem::draw(random, 4, 3, 8, Rounding::None),
      &ops::KernelTable<float>::combine_experts,
      [](const ops::CombineExpertsArgs<float>& args, platform::ThreadPool& pool) noexcept {
        auto wrong = args;
        wrong.slot_of.columns -= 1;
        reference::combine_experts(wrong, pool);
      });
}

}  // namespace
}  // namespace fathom::testing
