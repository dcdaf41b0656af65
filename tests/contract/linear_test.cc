// The contract of ops/linear.h: linear and expert_linear, in every format of weights.
#include "fathom/compute/ops/linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <tuple>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "fathom/compute/numeric/small_floats.h"
#include "fathom/compute/numeric/weight_panels.h"

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

// What an op allocates for its kernel.
class Scratch {
 public:
  Scratch(Index columns, Index num_slots, Index num_matrices)
      : num_bytes_(to_size(ops::linear_scratch_bytes(columns, num_slots, num_matrices))),
        bytes_(static_cast<std::byte*>(::operator new (num_bytes_, std::align_val_t{64}))) {
    std::fill_n(bytes_.get(), num_bytes_, std::byte{0xff});  // NaN
  }
  std::span<std::byte> span() const { return {bytes_.get(), num_bytes_}; }

 private:
  struct Delete {
    void operator()(std::byte* bytes) const { ::operator delete (bytes, std::align_val_t{64}); }
  };
  std::size_t num_bytes_;
  std::unique_ptr<std::byte, Delete> bytes_;
};

using ops::Products;

constexpr Products kEveryProducts[] = {Products::Fp32, Products::Bf16Operands, Products::Bf16};

// How x is rounded for such products.
Rounding operands_of(Products products) {
  return products == Products::Fp32 ? Rounding::None : Rounding::Bf16;
}

struct LinearProblem {
  numeric::WeightView weight;
  Index rows;
  Products products;
  std::vector<float> x;
  Rounding rounding = ops::rounding_of(products);

  LinearProblem row(Index idx) const {
    return {weight, 1, products, rows_of(x, weight.columns, idx)};
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> input(rows, weight.columns, 5, x);
    Grid<Real> out(rows, weight.rows, 3);
    const Scratch scratch(weight.columns, rows, 1);
    kernels.linear.run({.weight = weight,
                        .x = input.view(),
                        .products = products,
                        .out = out.view(),
                        .scratch = scratch.span()},
                       pool);
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
  Products products;
  std::vector<float> x;
  std::vector<std::int32_t> source;  // may be empty
  std::vector<std::int32_t> offsets;
  Rounding rounding = ops::rounding_of(products);

  Index columns() const { return weights.front().columns; }
  Index num_slots() const { return offsets.back(); }
  Index source_of(Index slot) const { return source.empty() ? slot : source[to_size(slot)]; }
  Index expert_of(Index slot) const {
    return std::upper_bound(offsets.begin(), offsets.end(), slot) - offsets.begin() - 1;
  }
  ExpertProblem row(Index idx) const {
    ExpertProblem one = {weights, products, rows_of(x, columns(), source_of(idx)), {}, {}};
    for (Index expert = 0; expert <= to_index(weights.size()); ++expert) {
      one.offsets.push_back(expert > expert_of(idx) ? 1 : 0);
    }
    return one;
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> input(to_index(x.size()) / columns(), columns(), 5, x);
    Grid<Real> out(num_slots(), weights.front().rows, 3);
    const Scratch scratch(columns(), num_slots(), to_index(weights.size()));
    kernels.expert_linear.run({.weights = weights,
                               .x = input.view(),
                               .source = source,
                               .offsets = offsets,
                               .products = products,
                               .out = out.view(),
                               .scratch = scratch.span()},
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
    for (const auto& [rows, outputs] :
         {std::pair<Index, Index>{1, 37}, {2, 1}, {5, 17}, {19, 8}, {45, 53}}) {
      for (const Products products : kEveryProducts) {
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(width) + " to " +
                     std::to_string(outputs));
        const RandomMatrix matrix(random, storage().format, outputs, width, storage().scales);
        expect_contract(LinearProblem{matrix.view(), rows, products,
                                      random.normals(rows * width, operands_of(products))},
                        backend());
      }
    }
  }
}

TEST_P(Linear, RowsSlicedFromTheMiddleOfATileKeepTheirScales) {
  Random random(92);
  runtime::Runtime& runtime = runtime_of(backend(), 2);
  for (const Index width : {columns().back(), Index{256}}) {
    const RandomMatrix matrix(random, storage().format, 140, width, storage().scales);
    for (const Index tokens : {3, 1, 2}) {
      SCOPED_TRACE(std::to_string(tokens) + " x " + std::to_string(width));
      const LinearProblem whole = {matrix.view(), tokens, Products::Fp32,
                                   random.normals(tokens * width)};
      const LinearProblem part = {matrix.view().slice_rows(101, 39), tokens, Products::Fp32,
                                  whole.x};
      expect_contract(part, backend());
      const auto of_whole = whole.run<float>(runtime.context().f32, runtime.pool());
      const auto of_part = part.run<float>(runtime.context().f32, runtime.pool());
      for (Index row = 0; row < tokens; ++row) {
        const auto wide = of_whole.row(row);
        EXPECT_TRUE(is_same(of_part.row(row), {wide.begin() + 101, wide.end()}));
      }
    }
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
  for (const Products products : kEveryProducts) {
    // Expert 0 and 3 have no tokens, 1 has one, 2 many.
    ExpertProblem problem = {views,
                             products,
                             random.normals(9 * width, operands_of(products)),
                             {},
                             {0, 0, 1, 20, 20, 23}};
    for (Index slot = 0; slot < 23; ++slot) {
      problem.source.push_back(static_cast<std::int32_t>(random.index(0, 8)));
    }
    expect_contract(problem, backend());
    const ExpertProblem direct = {
        views, products, random.normals(6 * width, operands_of(products)), {}, {0, 2, 2, 2, 5, 6}};
    expect_contract(direct, backend());
  }
  expect_contract(
      ExpertProblem{views, Products::Fp32, random.normals(width), {}, {0, 0, 0, 0, 0, 0}},
      backend());
}

// The product of every row with every token has the class of the reference's: NaN, either infinity
// or a number. Units that multiply sums of parts have to see to that, because infinity minus itself
// is NaN.
TEST_P(Linear, InfinityAndNanReachWhatTheyMeetAndNothingElse) {
  Random random(97);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Index width = columns().back();
  RandomMatrix matrix(random, storage().format, 35, width, storage().scales);
  if (storage().format == WeightFormat::Fp8) {  // the codes that are NaN
    matrix.put_byte(7, width / 3, 0x7f);
    matrix.put_byte(30, 0, 0xff);
  }
  for (const Products products : kEveryProducts) {
    LinearProblem problem = {matrix.view(), 21, products,
                             random.normals(21 * width, operands_of(products))};
    problem.x[to_size(1 * width + width / 2)] = kInfinity;
    problem.x[to_size(3 * width)] = -kInfinity;
    problem.x[to_size(20 * width - 1)] = std::numeric_limits<float>::quiet_NaN();
    problem.x[to_size(18 * width)] = 0x1.fep127F;  // the largest BF16 number
    runtime::Runtime& runtime = runtime_of(backend(), 2);
    const auto actual = problem.run<float>(runtime.context().f32, runtime.pool());
    const auto expected =
        problem.run<float>(runtime_of("reference", 1).context().f32, runtime.pool());
    for (Index i = 0; i < 21 * 35; ++i) {
      const float value = actual.values[to_size(i)];
      const float reference = expected.values[to_size(i)];
      ASSERT_EQ(std::isnan(value), std::isnan(reference)) << i;
      ASSERT_EQ(std::isinf(value), std::isinf(reference)) << i;
      ASSERT_TRUE(!std::isinf(value) || value == reference) << i;
    }
  }
}

TEST_P(Linear, InfinityAndNanOfManyRowsToo) {
  Random random(97);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Index width = columns().back();
  const RandomMatrix matrix(random, storage().format, 35, width, storage().scales);
  LinearProblem problem = {matrix.view(), 37, Products::Fp32, random.normals(37 * width)};
  problem.x[to_size(1 * width + width / 2)] = kInfinity;
  problem.x[to_size(36 * width)] = -kInfinity;
  problem.x[to_size(36 * width - 1)] = std::numeric_limits<float>::quiet_NaN();
  runtime::Runtime& runtime = runtime_of(backend(), 2);
  const auto actual = problem.run<float>(runtime.context().f32, runtime.pool());
  const auto expected =
      problem.run<float>(runtime_of("reference", 1).context().f32, runtime.pool());
  for (std::size_t i = 0; i < expected.values.size(); ++i) {
    ASSERT_EQ(std::isnan(actual.values[i]), std::isnan(expected.values[i])) << i;
    ASSERT_TRUE(!std::isinf(expected.values[i]) || actual.values[i] == expected.values[i]) << i;
  }
}

TEST_P(Linear, NoTokensAreNoWork) {
  Random random(94);
  const Index width = columns().front();
  const RandomMatrix matrix(random, storage().format, 4, width, storage().scales);
  expect_contract(LinearProblem{matrix.view(), 0, Products::Fp32, {}}, backend());
}

INSTANTIATE_TEST_SUITE_P(Contract,
                         Linear,
                         ::testing::Combine(::testing::ValuesIn(contract_backends()),
                                            ::testing::ValuesIn(every_storage())),
                         [](const auto& item) {
                           return identifier(std::get<0>(item.param)) + "_" +
                                  name_of(std::get<1>(item.param));
                         });

// As many rows as in training, on either side of what their kernels treat apart: groups of rows and
// registers, tiles of tokens, parts of the columns, outputs that fill fewer registers, and matrices
// so wide that fewer of their rows, or none, make a panel.
class ManyRows : public OnEveryBackend {};

TEST_P(ManyRows, KeepTheContract) {
  Random random(99);
  for (const auto& [rows, width, outputs] : {std::tuple<Index, Index, Index>{31, 48, 65},
                                             {32, 16, 48},
                                             {33, 5, 31},
                                             {520, 40, 33},
                                             {70, 384, 130},
                                             {270, 530, 64},
                                             {40, 1024, 33},
                                             {35, 1025, 49},
                                             {33, 1540, 50},
                                             {40, 2730, 33},
                                             {35, 2740, 49},
                                             {33, 4096, 33},
                                             {34, 4100, 35}}) {
    SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(width) + " to " +
                 std::to_string(outputs));
    const RandomMatrix matrix(random, WeightFormat::F32, outputs, width, ScaleFormat::None);
    expect_contract(
        LinearProblem{matrix.view(), rows, Products::Fp32, random.normals(rows * width)},
        GetParam());
  }
}

TEST_P(ManyRows, OfExpertsKeepTheContract) {
  Random random(100);
  std::vector<RandomMatrix> matrices;
  std::vector<numeric::WeightView> views;
  for (int expert = 0; expert < 4; ++expert) {
    matrices.emplace_back(random, WeightFormat::F32, 50, 70, ScaleFormat::None);
  }
  for (const RandomMatrix& matrix : matrices) {
    views.push_back(matrix.view());
  }
  ExpertProblem problem = {
      views, Products::Fp32, random.normals(90 * 70), {}, {0, 90, 90, 93, 700}};
  for (Index slot = 0; slot < 700; ++slot) {
    problem.source.push_back(static_cast<std::int32_t>(random.index(0, 89)));
  }
  expect_contract(problem, GetParam());
}

// A sum of products that are too small for any number is a negative zero, unless the row is
// continued with zeros: panels of many rows have to end alike.
TEST_P(ManyRows, KeepTheSignOfZero) {
  constexpr Index kOutputs = 33;
  for (const Index width : {16, 19, 32, 35, 530}) {
    const std::vector<float> tiny(to_size(kOutputs * width), 1e-30F);
    const numeric::WeightView weight = {.rows = kOutputs,
                                        .columns = width,
                                        .data = reinterpret_cast<const std::byte*>(tiny.data()),
                                        .row_stride_bytes = 4 * width};
    const LinearProblem problem = {weight, 40, Products::Fp32,
                                   std::vector<float>(to_size(40 * width), -1e-30F)};
    runtime::Runtime& runtime = runtime_of(GetParam(), 1);
    const auto many = problem.run<float>(runtime.context().f32, runtime.pool());
    const auto one = problem.row(7).run<float>(runtime.context().f32, runtime.pool());
    EXPECT_TRUE(is_same(many.row(7), one.values)) << width;
  }
}

FATHOM_ON_EVERY_BACKEND(ManyRows);

// The order of docs/numerics.md for tiles, bit by bit: products of 32 columns are summed from zero,
// even and odd columns apart, before they are added; numbers below 2^-126 are zeros.
float flushed(float value) {
  return std::fabs(value) < 0x1p-126F ? std::copysign(0.0F, value) : value;
}
float sum_as_tiles(const std::vector<float>& weights, const float* x) {
  float sum = 0;
  for (std::size_t block = 0; block < weights.size(); block += 32) {
    float halves[2] = {0, 0};
    for (std::size_t k = block; k < std::min(block + 32, weights.size()); ++k) {
      halves[k % 2] = flushed(std::fma(flushed(weights[k]), flushed(x[k]), halves[k % 2]));
    }
    sum = flushed(sum + flushed(halves[0] + halves[1]));
  }
  return numeric::round_bf16(sum);
}

TEST(LinearOnTiles, SumsInTheOrderOfTheInstruction) {
  const auto backends = contract_backends();
  if (std::find(backends.begin(), backends.end(), "cpu:amx") == backends.end()) {
    GTEST_SKIP() << "this machine has no matrix tiles";
  }
  Random random(98);
  runtime::Runtime& runtime = runtime_of("cpu:amx", 2);
  for (const auto& [format, scales] : {Storage{WeightFormat::BF16, ScaleFormat::None},
                                       Storage{WeightFormat::Fp8, ScaleFormat::E8M0},
                                       Storage{WeightFormat::Fp4, ScaleFormat::E8M0},
                                       Storage{WeightFormat::Mxfp4, ScaleFormat::None}}) {
    for (const Index tokens : {1, 3, 16, 17, 48, 70}) {
      for (const double deviation : {1.0, 0x1p-124}) {
        const Index width = format == WeightFormat::BF16 ? 2331 : 2336;
        const RandomMatrix matrix(random, format, 35, width, scales);
        const LinearProblem problem = {matrix.view(), tokens, Products::Bf16,
                                       random.normals(tokens * width, Rounding::Bf16, deviation)};
        const auto actual = problem.run<float>(runtime.context().f32, runtime.pool());
        std::vector<float> weights(to_size(width));
        for (Index row = 0; row < 35; ++row) {
          numeric::decode_row(matrix.view(), row, 0, width, weights.data());
          for (Index token = 0; token < tokens; ++token) {
            const float expected = sum_as_tiles(weights, problem.x.data() + token * width);
            ASSERT_EQ(actual.values[to_size(token * 35 + row)], expected)
                << numeric::to_string(format) << " " << token << " " << row;
          }
        }
      }
    }
  }
}

// Every E4M3 number at scales from the smallest to one with which the largest is just finite,
// beside each other in a row: a token that is 1 at one column and 0 elsewhere gives the weight
// itself.
TEST(LinearE4m3, AnyCodeTimesAnyScaleIsTheWeightItself) {
  constexpr std::uint8_t kScales[] = {0, 1, 9, 10, 127, 246};
  const Index num_rows = 254;  // all codes but the two NaN
  const Index width = numeric::kFp8TileColumns * to_index(std::size(kScales));
  std::vector<std::byte> codes;
  for (const int sign : {0, 128}) {
    for (int code = 0; code < 127; ++code) {
      codes.insert(codes.end(), to_size(width), std::byte(sign + code));
    }
  }
  std::vector<std::byte> scales;  // of two rows of tiles, the second in the other order
  for (const std::uint8_t scale : kScales) {
    scales.push_back(std::byte{scale});
  }
  scales.insert(scales.end(), scales.rbegin(), scales.rend());
  const numeric::WeightView weight = {.format = WeightFormat::Fp8,
                                      .rows = num_rows,
                                      .columns = width,
                                      .data = codes.data(),
                                      .row_stride_bytes = width,
                                      .scale_format = ScaleFormat::E8M0,
                                      .scales = scales.data(),
                                      .scale_row_stride_bytes = to_index(std::size(kScales))};
  for (const std::string& backend : contract_backends()) {
    runtime::Runtime& runtime = runtime_of(backend, 2);
    for (const Index tokens : {1, 2, 3, 4, 5}) {
      for (Index first = 0; first < width; first += 61) {
        std::vector<float> x(to_size(tokens * width), 0.0F);
        for (Index token = 0; token < tokens; ++token) {
          x[to_size(token * width + (first + token) % width)] = 1;
        }
        const LinearProblem problem = {weight, tokens, Products::Fp32, x};
        const auto found = problem.run<float>(runtime.context().f32, runtime.pool());
        for (Index token = 0; token < tokens; ++token) {
          const Index column = (first + token) % width;
          for (Index row = 0; row < num_rows; ++row) {
            float expected = 0;
            numeric::decode_row(weight.slice_rows(row, 1), 0, column, 1, &expected);
            ASSERT_EQ(found.row(token)[to_size(row)], expected)
                << backend << ", " << tokens << " tokens, row " << row << ", column " << column;
          }
        }
      }
    }
  }
}

// FP8 in panels, from few rows and tokens to many: within the contract on every backend, and on one
// that multiplies pairs, the bits of the same matrix in rows. A slice of it begins inside a tile of
// scales; one tile has a scale of which not all numbers are BF16 numbers, and one code is NaN.
TEST(LinearOfFp8Panels, KeepTheContractAndTheBitsOfRows) {
  Random random(99);
  for (const Index width : {32, 160, 256, 416}) {
    RandomMatrix matrix(random, WeightFormat::Fp8, 293, width, ScaleFormat::E8M0);
    matrix.put_scale(1, 0, 247);
    for (const auto& [first, count] :
         {std::pair<Index, Index>{0, 293}, {112, 37}, {16, 5}, {96, 80}}) {
      const numeric::WeightView rows = matrix.view().slice_rows(first, count);
      std::vector<std::byte> bytes(to_size(1 + numeric::bytes_in_panels(rows)));
      numeric::pack_panels(rows, 0, ceil_div(count, numeric::kPanelRows), bytes.data() + 1);
      const numeric::WeightView panels = numeric::view_of_panels(rows, bytes.data() + 1);
      for (const Products products : kEveryProducts) {
        for (const Index tokens : {1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 40}) {
          SCOPED_TRACE(std::to_string(tokens) + " x " + std::to_string(width) + ", rows " +
                       std::to_string(first) + " + " + std::to_string(count));
          const std::vector<float> x = random.normals(tokens * width, operands_of(products));
          const LinearProblem problem = {panels, tokens, products, x};
          for (const std::string& backend : contract_backends()) {
            if (tokens == 1 || tokens == 7 || tokens == 40) {
              expect_contract(problem, backend);
            }
            if (backend == "cpu:avx3_bf16") {
              runtime::Runtime& runtime = runtime_of(backend, 2);
              const auto of_panels = problem.run<float>(runtime.context().f32, runtime.pool());
              const auto of_rows = LinearProblem{rows, tokens, products, x}.run<float>(
                  runtime.context().f32, runtime.pool());
              EXPECT_TRUE(is_same(of_panels.values, of_rows.values));
            }
          }
        }
      }
    }
  }
}

TEST(LinearOfFp8Panels, NanAndInfinityReachWhatTheyMeetAndNothingElse) {
  Random random(100);
  constexpr Index kRows = 70;
  constexpr Index kWidth = 256;
  RandomMatrix matrix(random, WeightFormat::Fp8, kRows, kWidth, ScaleFormat::E8M0);
  matrix.put_byte(33, 130, 0x7f);  // the codes that are NaN
  matrix.put_byte(69, 0, 0xff);
  std::vector<std::byte> bytes(to_size(numeric::bytes_in_panels(matrix.view())));
  numeric::pack_panels(matrix.view(), 0, ceil_div(kRows, numeric::kPanelRows), bytes.data());
  const numeric::WeightView panels = numeric::view_of_panels(matrix.view(), bytes.data());
  for (const Index tokens : {1, 5, 8, 20}) {
    LinearProblem problem = {panels, tokens, Products::Bf16Operands,
                             random.normals(tokens * kWidth, Rounding::Bf16)};
    const auto expect_nan = [&](const auto& is_nan) {
      for (const std::string& backend : contract_backends()) {
        runtime::Runtime& runtime = runtime_of(backend, 2);
        const auto found = problem.run<float>(runtime.context().f32, runtime.pool());
        for (Index i = 0; i < tokens * kRows; ++i) {
          ASSERT_EQ(std::isfinite(found.values[to_size(i)]), !is_nan(i / kRows, i % kRows))
              << backend << ", token " << i / kRows << ", row " << i % kRows;
        }
      }
    };
    expect_nan([](Index, Index row) { return row == 33 || row == 69; });
    problem.x[to_size((tokens - 1) * kWidth + 200)] = std::numeric_limits<float>::infinity();
    expect_nan(
        [&](Index token, Index row) { return row == 33 || row == 69 || token == tokens - 1; });
  }
}

TEST(LinearOfFp8Panels, ExpertsOfAFewSlotsAndOfManyKeepTheBitsOfRows) {
  Random random(101);
  constexpr Index kWidth = 128;
  std::vector<RandomMatrix> matrices;
  std::vector<std::vector<std::byte>> bytes;
  std::vector<numeric::WeightView> rows;
  std::vector<numeric::WeightView> panels;
  for (int expert = 0; expert < 4; ++expert) {
    matrices.emplace_back(random, WeightFormat::Fp8, 83, kWidth, ScaleFormat::E8M0);
  }
  for (const RandomMatrix& matrix : matrices) {
    rows.push_back(matrix.view());
    bytes.emplace_back(to_size(numeric::bytes_in_panels(rows.back())));
    numeric::pack_panels(rows.back(), 0, 6, bytes.back().data());
    panels.push_back(numeric::view_of_panels(rows.back(), bytes.back().data()));
  }
  ExpertProblem problem = {panels,
                           Products::Bf16Operands,
                           random.normals(9 * kWidth, Rounding::Bf16),
                           {},
                           {0, 1, 1, 24, 30}};
  for (Index slot = 0; slot < 30; ++slot) {
    problem.source.push_back(static_cast<std::int32_t>(random.index(0, 8)));
  }
  for (const std::string& backend : contract_backends()) {
    expect_contract(problem, backend);
    if (backend == "cpu:avx3_bf16") {
      runtime::Runtime& runtime = runtime_of(backend, 2);
      const auto of_panels = problem.run<float>(runtime.context().f32, runtime.pool());
      problem.weights = rows;
      const auto of_rows = problem.run<float>(runtime.context().f32, runtime.pool());
      EXPECT_TRUE(is_same(of_panels.values, of_rows.values));
      problem.weights = panels;
    }
  }
}

#if defined(__x86_64__)
// The order of docs/numerics.md for pairs, bit by bit, with the instruction itself: processors may
// differ in how they add up the two products of a pair.
__attribute__((target("avx512f,avx512bw,avx512bf16"))) float add_pair(float sum,
                                                                      const float* weights,
                                                                      const float* x) {
  const auto pair = [](const float* numbers) {
    return static_cast<std::int32_t>(std::uint32_t{numeric::float_to_bf16(numbers[1])} << 16 |
                                     numeric::float_to_bf16(numbers[0]));
  };
  return _mm512_cvtss_f32(_mm512_dpbf16_ps(
      _mm512_set1_ps(sum), reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair(weights))),
      reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair(x)))));
}

float sum_as_pairs(const numeric::WeightView& weight, Index row, std::vector<float> x) {
  std::vector<float> weights(x.size());
  numeric::decode_row(weight, row, 0, weight.columns, weights.data());
  weights.resize(x.size() + x.size() % 2, 0);
  x.resize(weights.size(), 0);
  float sum = 0;
  for (std::size_t k = 0; k < weights.size(); k += 2) {
    sum = add_pair(sum, weights.data() + k, x.data() + k);
  }
  return sum;
}

// Of Q8_0: the sum of a block of codes begins at zero and is multiplied with the scale.
float sum_of_code_blocks(const numeric::WeightView& weight,
                         Index row,
                         const std::vector<float>& x) {
  const std::byte* block = weight.data + row * weight.row_stride_bytes;
  float sum = 0;
  for (std::size_t first = 0; first < x.size(); first += 32, block += 34) {
    std::uint16_t scale;
    std::memcpy(&scale, block, sizeof(scale));
    float block_sum = 0;
    for (std::size_t k = 0; k < 32; k += 2) {
      const float codes[2] = {static_cast<float>(std::to_integer<std::int8_t>(block[2 + k])) / 128,
                              static_cast<float>(std::to_integer<std::int8_t>(block[3 + k])) / 128};
      block_sum = add_pair(block_sum, codes, x.data() + first + k);
    }
    sum = std::fma(block_sum, 128 * numeric::f16_to_float(scale), sum);
  }
  return sum;
}

TEST(LinearOfPairs, SumsInTheOrderOfTheInstruction) {
  const auto backends = contract_backends();
  if (std::find(backends.begin(), backends.end(), "cpu:avx3_bf16") == backends.end()) {
    GTEST_SKIP() << "this machine does not multiply pairs of BF16 numbers";
  }
  Random random(98);
  runtime::Runtime& runtime = runtime_of("cpu:avx3_bf16", 2);
  for (const auto& [format, scales] : {Storage{WeightFormat::BF16, ScaleFormat::None},
                                       Storage{WeightFormat::Fp8, ScaleFormat::E8M0},
                                       Storage{WeightFormat::Fp4, ScaleFormat::E8M0},
                                       Storage{WeightFormat::Mxfp4, ScaleFormat::None},
                                       Storage{WeightFormat::Q8_0, ScaleFormat::None}}) {
    for (const Index tokens : {1, 3, 8, 16, 17, 70, 300}) {
      const Index width = format == WeightFormat::BF16 ? 1131 : 1120;
      const RandomMatrix matrix(random, format, 53, width, scales);
      const LinearProblem problem = {matrix.view(), tokens, Products::Bf16Operands,
                                     random.normals(tokens * width, Rounding::Bf16)};
      const auto actual = problem.run<float>(runtime.context().f32, runtime.pool());
      for (Index row = 0; row < 53; ++row) {
        for (Index token = 0; token < tokens; token += token < 17 ? 1 : 29) {
          const std::vector<float> x = rows_of(problem.x, width, token);
          const float expected = format == WeightFormat::Q8_0
                                     ? sum_of_code_blocks(matrix.view(), row, x)
                                     : sum_as_pairs(matrix.view(), row, x);
          ASSERT_EQ(actual.values[to_size(token * 53 + row)], expected)
              << numeric::to_string(format) << " " << tokens << " " << token << " " << row;
        }
      }
    }
  }
}
#endif

// What holds fewer parts than its format may need is the same sum.
TEST(LinearOnTiles, Fp32WeightsThatAreBf16NumbersGiveTheBitsOfBf16) {
  Random random(99);
  const Index width = 90;
  const RandomMatrix matrix(random, WeightFormat::BF16, 35, width, ScaleFormat::None);
  std::vector<float> decoded(to_size(35 * width));
  for (Index row = 0; row < 35; ++row) {
    numeric::decode_row(matrix.view(), row, 0, width, decoded.data() + row * width);
  }
  for (const std::string& backend : contract_backends()) {
    runtime::Runtime& runtime = runtime_of(backend, 2);
    for (const Index tokens : {1, 17, 70}) {
      LinearProblem problem = {matrix.view(), tokens, Products::Bf16Operands,
                               random.normals(tokens * width, Rounding::Bf16)};
      const auto expected = problem.run<float>(runtime.context().f32, runtime.pool());
      problem.weight = {};
      problem.weight.rows = 35;
      problem.weight.columns = width;
      problem.weight.data = reinterpret_cast<const std::byte*>(decoded.data());
      problem.weight.row_stride_bytes = width * to_index(sizeof(float));
      const auto found = problem.run<float>(runtime.context().f32, runtime.pool());
      EXPECT_TRUE(is_same(found.values, expected.values)) << backend << " " << tokens;
    }
  }
}

// Experts whose fp32 weights are BF16 numbers beside one whose are not: each keeps its own order,
// whichever others have tokens.
TEST(LinearOnTiles, ExpertsOfBf16NumbersAndOthersKeepTheirOrders) {
  Random random(101);
  const Index width = 90;
  const RandomMatrix exact(random, WeightFormat::BF16, 35, width, ScaleFormat::None);
  std::vector<float> decoded(to_size(35 * width));
  for (Index row = 0; row < 35; ++row) {
    numeric::decode_row(exact.view(), row, 0, width, decoded.data() + row * width);
  }
  std::vector<float> inexact = decoded;
  inexact.back() *= 1.001F;
  const auto view_of = [&](const std::vector<float>& numbers) {
    return numeric::WeightView{.rows = 35,
                               .columns = width,
                               .data = reinterpret_cast<const std::byte*>(numbers.data()),
                               .row_stride_bytes = width * to_index(sizeof(float))};
  };
  const ExpertProblem both = {{view_of(decoded), view_of(inexact)},
                              Products::Bf16Operands,
                              random.normals(9 * width, Rounding::Bf16),
                              {},
                              {0, 4, 9}};
  for (const std::string& backend : contract_backends()) {
    SCOPED_TRACE(backend);
    expect_contract(both, backend);
    runtime::Runtime& runtime = runtime_of(backend, 2);
    const auto found = both.run<float>(runtime.context().f32, runtime.pool());
    for (const Index slot : {1, 6}) {
      const LinearProblem alone = {slot < 4 ? exact.view() : view_of(inexact), 1,
                                   Products::Bf16Operands, rows_of(both.x, width, slot)};
      const auto expected = alone.run<float>(runtime.context().f32, runtime.pool());
      EXPECT_TRUE(is_same(found.row(slot), expected.values)) << slot;
    }
  }
}

TEST(LinearMutation, OneForgottenTermIsNoticedInEveryFormat) {
  Random random(95);
  for (const Storage& storage : every_storage()) {
    SCOPED_TRACE(name_of(storage));
    const Index width = std::max<Index>(64, numeric::info(storage.format).block_columns);
    const RandomMatrix matrix(random, storage.format, 6, width, storage.scales);
    const LinearProblem problem = {matrix.view(), 2, Products::Fp32, random.normals(2 * width)};
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
      {first.view(), second.view()}, Products::Bf16, random.normals(4 * 32), {}, {0, 2, 4}};
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
