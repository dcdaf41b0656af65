// The contract of ops/linear.h: linear and expert_linear, in every format of weights.
#include "fathom/compute/ops/linear.h"

#include <tuple>

#include "tests/contract/contract.h"
#include "tests/contract/random_weights.h"

namespace fathom::testing {
namespace {

// How far weight[row] . x may be off: as many products and sums as there are columns.
double product_limit(const numeric::WeightView& weight, Index row, const float* x) {
  std::vector<double> decoded(to_size(weight.columns));
  numeric::decode_row(weight, row, 0, weight.columns, decoded.data());
  double squares = 0;
  for (Index i = 0; i < weight.columns; ++i) {
    const double term = decoded[to_size(i)] * static_cast<double>(x[i]);
    squares += term * term;
  }
  return rounding_limit(weight.columns, std::sqrt(squares));
}

struct LinearProblem {
  numeric::WeightView weight;
  Index rows;
  Rounding rounding;
  std::vector<float> x;

  LinearProblem row(Index idx) const {
    return {weight, 1, rounding, rows_of(x, weight.columns, idx)};
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> input(rows, weight.columns, 5, x);
    Grid<Real> out(rows, weight.rows, 3);
    kernels.linear.run(
        {.weight = weight, .x = input.view(), .rounding = rounding, .out = out.view()}, pool);
    return result_of<Real>(rows, out);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    std::vector<double> limits;
    for (Index i = 0; i < rows * weight.rows; ++i) {
      const double value = expected.values[to_size(i)];
      limits.push_back(
          product_limit(weight, i % weight.rows, x.data() + i / weight.rows * weight.columns) +
          (rounding == Rounding::Bf16 ? bf16_limit(1, value) : 0));
    }
    return limits;
  }
};

struct ExpertProblem {
  std::vector<numeric::WeightView> weights;
  Rounding rounding;
  std::vector<float> x;
  std::vector<std::int32_t> source;  // may be empty
  std::vector<std::int32_t> offsets;

  Index columns() const { return weights.front().columns; }
  Index num_slots() const { return offsets.back(); }
  Index source_of(Index slot) const { return source.empty() ? slot : source[to_size(slot)]; }
  Index expert_of(Index slot) const {
    return std::upper_bound(offsets.begin(), offsets.end(), slot) - offsets.begin() - 1;
  }
  ExpertProblem row(Index idx) const {
    ExpertProblem one = {weights, rounding, rows_of(x, columns(), source_of(idx)), {}, {}};
    for (Index expert = 0; expert <= to_index(weights.size()); ++expert) {
      one.offsets.push_back(expert > expert_of(idx) ? 1 : 0);
    }
    return one;
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> input(to_index(x.size()) / columns(), columns(), 5, x);
    Grid<Real> out(num_slots(), weights.front().rows, 3);
    kernels.expert_linear.run({.weights = weights,
                               .x = input.view(),
                               .source = source,
                               .offsets = offsets,
                               .rounding = rounding,
                               .out = out.view()},
                              pool);
    return result_of<Real>(num_slots(), out);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    std::vector<double> limits;
    const Index width = weights.front().rows;
    for (Index i = 0; i < num_slots() * width; ++i) {
      const Index slot = i / width;
      const double value = expected.values[to_size(i)];
      limits.push_back(product_limit(weights[to_size(expert_of(slot))], i % width,
                                     x.data() + source_of(slot) * columns()) +
                       (rounding == Rounding::Bf16 ? bf16_limit(1, value) : 0));
    }
    return limits;
  }
};

class Linear : public ::testing::TestWithParam<std::tuple<std::string, Storage>> {
 protected:
  const std::string& backend() const { return std::get<0>(GetParam()); }
  const Storage& storage() const { return std::get<1>(GetParam()); }
  // Columns that end inside a vector, a lane group and a tile, where the format allows.
  std::vector<Index> columns() const {
    const Index block = numeric::info(storage().format).block_columns;
    if (block == 1) {
      return {1, 7, 16, 33, 128, 300};
    }
    return {block, 3 * block, block == 32 ? 8 * block : 2 * block};
  }
};

TEST_P(Linear, KeepsTheContract) {
  Random random(91);
  for (const Index width : columns()) {
    for (const auto& [rows, outputs] : {std::pair<Index, Index>{1, 37}, {2, 1}, {5, 17}, {19, 8}}) {
      for (const Rounding rounding : {Rounding::None, Rounding::Bf16}) {
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(width) + " to " +
                     std::to_string(outputs));
        const RandomMatrix matrix(random, storage().format, outputs, width, storage().scales);
        expect_contract(
            LinearProblem{matrix.view(), rows, rounding, random.normals(rows * width, rounding)},
            backend());
      }
    }
  }
}

TEST_P(Linear, RowsSlicedFromTheMiddleOfATileKeepTheirScales) {
  Random random(92);
  const Index width = columns().back();
  const RandomMatrix matrix(random, storage().format, 140, width, storage().scales);
  const LinearProblem whole = {matrix.view(), 3, Rounding::None, random.normals(3 * width)};
  const LinearProblem part = {matrix.view().slice_rows(101, 39), 3, Rounding::None, whole.x};
  expect_contract(part, backend());
  runtime::Runtime& runtime = runtime_of(backend(), 2);
  const auto of_whole = whole.run<float>(runtime.context().f32, runtime.pool());
  const auto of_part = part.run<float>(runtime.context().f32, runtime.pool());
  for (Index row = 0; row < 3; ++row) {
    const auto wide = of_whole.row(row);
    EXPECT_TRUE(is_same(of_part.row(row), {wide.begin() + 101, wide.end()}));
  }
}

TEST_P(Linear, ExpertsKeepTheContractWithAndWithoutSlots) {
  Random random(93);
  const Index width = columns()[1];
  std::vector<RandomMatrix> matrices;
  std::vector<numeric::WeightView> views;
  for (int expert = 0; expert < 5; ++expert) {
    matrices.emplace_back(random, storage().format, 21, width, storage().scales);
  }
  for (const RandomMatrix& matrix : matrices) {
    views.push_back(matrix.view());
  }
  for (const Rounding rounding : {Rounding::None, Rounding::Bf16}) {
    // Expert 0 and 3 have no tokens, 1 has one, 2 many.
    ExpertProblem problem = {
        views, rounding, random.normals(9 * width, rounding), {}, {0, 0, 1, 20, 20, 23}};
    for (Index slot = 0; slot < 23; ++slot) {
      problem.source.push_back(static_cast<std::int32_t>(random.index(0, 8)));
    }
    expect_contract(problem, backend());
    const ExpertProblem direct = {
        views, rounding, random.normals(6 * width, rounding), {}, {0, 2, 2, 2, 5, 6}};
    expect_contract(direct, backend());
  }
  expect_contract(
      ExpertProblem{views, Rounding::None, random.normals(width), {}, {0, 0, 0, 0, 0, 0}},
      backend());
}

TEST_P(Linear, NoTokensAreNoWork) {
  Random random(94);
  const Index width = columns().front();
  const RandomMatrix matrix(random, storage().format, 4, width, storage().scales);
  expect_contract(LinearProblem{matrix.view(), 0, Rounding::None, {}}, backend());
}

INSTANTIATE_TEST_SUITE_P(Contract,
                         Linear,
                         ::testing::Combine(::testing::ValuesIn(contract_backends()),
                                            ::testing::ValuesIn(every_storage())),
                         [](const auto& item) {
                           return identifier(std::get<0>(item.param)) + "_" +
                                  name_of(std::get<1>(item.param));
                         });

TEST(LinearMutation, OneForgottenTermIsNoticedInEveryFormat) {
  Random random(95);
  for (const Storage& storage : every_storage()) {
    SCOPED_TRACE(name_of(storage));
    const Index width = std::max<Index>(64, numeric::info(storage.format).block_columns);
    const RandomMatrix matrix(random, storage.format, 6, width, storage.scales);
    const LinearProblem problem = {matrix.view(), 2, Rounding::None, random.normals(2 * width)};
    expect_notices(problem, &ops::KernelTable<float>::linear,
                   [](const ops::LinearArgs<float>& args, platform::ThreadPool& pool) noexcept {
                     std::vector<float> x(args.x.row(1), args.x.row(1) + args.x.columns);
                     x.back() = 0;
                     reference::linear(args, pool);
                     auto last = args;
                     last.x = {x.data(), 1, args.x.columns, args.x.columns};
                     last.out = args.out.slice_rows(1, 1);
                     reference::linear(last, pool);
                   });
  }
}

TEST(LinearMutation, ASlotOfTheNextExpertIsNoticed) {
  Random random(96);
  const RandomMatrix first(random, WeightFormat::BF16, 4, 32, ScaleFormat::None);
  const RandomMatrix second(random, WeightFormat::BF16, 4, 32, ScaleFormat::None);
  const ExpertProblem problem = {
      {first.view(), second.view()}, Rounding::Bf16, random.normals(4 * 32), {}, {0, 2, 4}};
  expect_notices(problem, &ops::KernelTable<float>::expert_linear,
                 [](const ops::ExpertLinearArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   const std::int32_t shifted[] = {0, 1, 4};
                   auto wrong = args;
                   wrong.offsets = shifted;
                   reference::expert_linear(wrong, pool);
                 });
}

}  // namespace
}  // namespace fathom::testing
