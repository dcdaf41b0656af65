// The contract of ops/int8_linear.h: activations rounded to int8 blocks, and products with every
// format of weights that has such blocks.
#include "fathom/compute/ops/int8_linear.h"

#include <tuple>

#include "fathom/compute/numeric/int8_blocks.h"
#include "fathom/compute/numeric/weight_panels.h"

#include "tests/contract/contract.h"
#include "tests/contract/random_weights.h"

namespace fathom::testing {
namespace {

constexpr Index kBlock = numeric::kInt8BlockColumns;

// Memory for activations in int8 blocks.
struct Blocks {
  Blocks(Index rows, Index columns)
      : codes(rows, columns, 7),
        scales(rows, columns / kBlock, 3),
        zeros(rows, columns / kBlock, 3),
        sums(rows, columns / kBlock, 3) {}
  ops::Int8Rows view() { return {codes.view(), scales.view(), zeros.view(), sums.view()}; }
  Grid<std::uint8_t> codes;
  Grid<float> scales;
  Grid<std::int32_t> zeros;
  Grid<std::int32_t> sums;
};

template <typename Real>
void round_rows(const ops::KernelTable<Real>& kernels,
                platform::ThreadPool& pool,
                Grid<Real>& x,
                Blocks& out) {
  kernels.round_to_int8.run({.x = x.view(), .out = out.view()}, pool);
}

struct RoundProblem {
  Rounding rounding = Rounding::None;
  Index rows;
  Index columns;
  std::vector<float> x;

  RoundProblem row(Index idx) const { return {rounding, 1, columns, rows_of(x, columns, idx)}; }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> input(rows, columns, 5, x);
    Blocks out(rows, columns);
    round_rows(kernels, pool, input, out);
    return result_of<Real>(rows, out.codes, out.scales, out.zeros, out.sums);
  }
  // Codes and scales are the same everywhere.
  std::vector<double> limits(const Result<double>& expected) const {
    return std::vector<double>(expected.values.size(), 0.0);
  }
};

class RoundToInt8 : public OnEveryBackend {};

TEST_P(RoundToInt8, KeepsTheContract) {
  Random random(301);
  for (const auto& [rows, columns] : {std::pair<Index, Index>{1, 32}, {5, 96}, {19, 544}}) {
    expect_contract(RoundProblem{Rounding::None, rows, columns, random.normals(rows * columns)},
                    GetParam());
  }
}

TEST_P(RoundToInt8, TiesExtremesAndZeros) {
  std::vector<float> x(128, 0.0F);
  for (Index i = 0; i < 32; ++i) {
    x[to_size(i)] = 0.5F * static_cast<float>(i - 16);  // codes that fall between integers
  }
  x[40] = 3e38F;
  x[41] = -3e37F;
  x[70] = 1e-38F;  // below what a block holds
  for (Index i = 96; i < 128; ++i) {
    x[to_size(i)] = 1e6F + 0.125F * static_cast<float>(i % 3);  // large, and nearly the same
  }
  expect_contract(RoundProblem{Rounding::None, 1, 128, x}, GetParam());
}

FATHOM_ON_EVERY_BACKEND(RoundToInt8);

// How far a sum over blocks may be off: some roundings a block, of terms this large.
double sum_limit(const numeric::WeightView& weight, Index row, const float* x) {
  double squares = 0;
  numeric::Int8Block block;
  for (Index idx = 0; idx < weight.columns / kBlock; ++idx) {
    numeric::read_int8_block(weight, row, idx, block);
    std::uint8_t codes[kBlock];
    const numeric::RoundedBlock rounded =
        numeric::round_to_int8_block(x + idx * kBlock, kBlock, codes);
    const auto scale = static_cast<double>(rounded.scale);
    double whole = 0;
    double of_token = 0;
    for (Index i = 0; i < kBlock; ++i) {
      const double code = static_cast<double>(codes[i]) - static_cast<double>(rounded.zero);
      whole += static_cast<double>(block.codes[i]) * code;
      of_token += code;
    }
    const double term = std::abs(whole * static_cast<double>(block.scale) * scale) +
                        std::abs(of_token * static_cast<double>(block.minimum) * scale);
    squares += term * term;
  }
  return rounding_limit(8 * weight.columns / kBlock, std::sqrt(squares));
}

struct Int8Problem {
  numeric::WeightView weight;
  Index rows;
  std::vector<float> x;
  Rounding rounding = Rounding::None;

  Int8Problem row(Index idx) const { return {weight, 1, rows_of(x, weight.columns, idx)}; }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> input(rows, weight.columns, 5, x);
    Blocks blocks(rows, weight.columns);
    round_rows(kernels, pool, input, blocks);
    Grid<Real> out(rows, weight.rows, 3);
    kernels.int8_linear.run({.weight = weight, .x = blocks.view(), .out = out.view()}, pool);
    return result_of<Real>(rows, out);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    std::vector<double> limits;
    for (Index i = 0; i < to_index(expected.values.size()); ++i) {
      limits.push_back(
          sum_limit(weight, i % weight.rows, x.data() + i / weight.rows * weight.columns));
    }
    return limits;
  }
};

struct ExpertInt8Problem {
  std::vector<numeric::WeightView> weights;
  std::vector<float> x;
  std::vector<std::int32_t> source;  // may be empty
  std::vector<std::int32_t> offsets;
  Rounding rounding = Rounding::None;

  Index columns() const { return weights.front().columns; }
  Index num_slots() const { return offsets.back(); }
  Index source_of(Index slot) const { return source.empty() ? slot : source[to_size(slot)]; }
  Index expert_of(Index slot) const {
    return std::upper_bound(offsets.begin(), offsets.end(), slot) - offsets.begin() - 1;
  }
  ExpertInt8Problem row(Index idx) const {
    ExpertInt8Problem one = {weights, rows_of(x, columns(), source_of(idx)), {}, {}};
    for (Index expert = 0; expert <= to_index(weights.size()); ++expert) {
      one.offsets.push_back(expert > expert_of(idx) ? 1 : 0);
    }
    return one;
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    const Index num_rows = to_index(x.size()) / columns();
    Grid<Real> input(num_rows, columns(), 5, x);
    Blocks blocks(num_rows, columns());
    round_rows(kernels, pool, input, blocks);
    Grid<Real> out(num_slots(), weights.front().rows, 3);
    kernels.expert_int8_linear.run({.weights = weights,
                                    .x = blocks.view(),
                                    .source = source,
                                    .offsets = offsets,
                                    .out = out.view()},
                                   pool);
    return result_of<Real>(num_slots(), out);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    std::vector<double> limits;
    const Index width = weights.front().rows;
    for (Index i = 0; i < to_index(expected.values.size()); ++i) {
      const Index slot = i / width;
      limits.push_back(sum_limit(weights[to_size(expert_of(slot))], i % width,
                                 x.data() + source_of(slot) * columns()));
    }
    return limits;
  }
};

// A matrix in panels, with its memory.
struct PanelMatrix {
  explicit PanelMatrix(const numeric::WeightView& rows)
      : bytes(to_size(numeric::bytes_in_panels(rows)), std::byte{0xff}),
        view(numeric::view_of_panels(rows, bytes.data())) {
    numeric::pack_panels(rows, 0, ceil_div(rows.rows, numeric::kPanelRows), bytes.data());
  }
  std::vector<std::byte> bytes;
  numeric::WeightView view;
};

std::vector<Storage> storages_with_int8_blocks() {
  std::vector<Storage> some;
  for (const Storage& storage : every_storage()) {
    if (numeric::has_int8_blocks(storage.format)) {
      some.push_back(storage);
    }
  }
  return some;
}

class Int8Linear : public ::testing::TestWithParam<std::tuple<std::string, Storage>> {
 protected:
  const std::string& backend() const { return std::get<0>(GetParam()); }
  const Storage& storage() const { return std::get<1>(GetParam()); }
};

TEST_P(Int8Linear, KeepsTheContract) {
  Random random(302);
  // Blocks that end inside a pair, a chunk and a panel; rows inside a panel and a tile; tokens
  // inside a micro-tile.
  for (const auto& [tokens, blocks, rows] : {std::tuple<Index, Index, Index>{1, 1, 37},
                                             {2, 3, 1},
                                             {5, 17, 16},
                                             {13, 2, 50},
                                             {13, 40, 50},
                                             {20, 37, 64},
                                             {1, 33, 100}}) {
    SCOPED_TRACE(std::to_string(tokens) + " x " + std::to_string(blocks) + " blocks to " +
                 std::to_string(rows));
    const RandomMatrix matrix(random, storage().format, rows, blocks * kBlock, storage().scales);
    expect_contract(Int8Problem{matrix.view(), tokens, random.normals(tokens * blocks * kBlock)},
                    backend());
  }
}

TEST_P(Int8Linear, ManyTokensKeepTheContract) {
  Random random(303);
  const Index width = 4 * kBlock;
  const RandomMatrix matrix(random, storage().format, 40, width, storage().scales);
  expect_contract(Int8Problem{matrix.view(), 270, random.normals(270 * width)}, backend());
}

TEST_P(Int8Linear, PanelsGiveTheBitsOfRowsForEveryNumberOfTokens) {
  Random random(309);
  const Index width = 19 * kBlock;
  const RandomMatrix matrix(random, storage().format, 90, width, storage().scales);
  const PanelMatrix panels(matrix.view());
  runtime::Runtime& runtime = runtime_of(backend(), 2);
  const auto run = [&](const numeric::WeightView& weight, Index tokens, std::vector<float> x) {
    return Int8Problem{weight, tokens, std::move(x)}.run<float>(runtime.context().f32,
                                                                runtime.pool());
  };
  for (const Index tokens : {1, 2, 3, 5, 8, 9, 20}) {
    SCOPED_TRACE(tokens);
    const auto x = random.normals(tokens * width);
    const auto of_rows = run(matrix.view(), tokens, x);
    EXPECT_TRUE(is_same(of_rows.values, run(panels.view, tokens, x).values));
    const auto of_part = run(panels.view.slice_rows(48, 33), tokens, x);
    for (Index token = 0; token < tokens; ++token) {
      const auto wide = of_rows.row(token);
      EXPECT_TRUE(is_same(of_part.row(token), {wide.begin() + 48, wide.begin() + 81}));
    }
  }
  expect_contract(Int8Problem{panels.view, 3, random.normals(3 * width)}, backend());
}

TEST_P(Int8Linear, SlicesOfRowsKeepTheirScales) {
  Random random(304);
  const Index width = 3 * kBlock;
  const RandomMatrix matrix(random, storage().format, 90, width, storage().scales);
  const Int8Problem whole = {matrix.view(), 3, random.normals(3 * width)};
  const Int8Problem part = {matrix.view().slice_rows(41, 39), 3, whole.x};
  expect_contract(part, backend());
  runtime::Runtime& runtime = runtime_of(backend(), 2);
  const auto of_whole = whole.run<float>(runtime.context().f32, runtime.pool());
  const auto of_part = part.run<float>(runtime.context().f32, runtime.pool());
  for (Index row = 0; row < 3; ++row) {
    const auto wide = of_whole.row(row);
    EXPECT_TRUE(is_same(of_part.row(row), {wide.begin() + 41, wide.begin() + 80}));
  }
}

TEST_P(Int8Linear, ExpertsKeepTheContractWithAndWithoutSlots) {
  Random random(305);
  const Index width = 3 * kBlock;
  std::vector<RandomMatrix> matrices;
  std::vector<numeric::WeightView> views;
  for (int expert = 0; expert < 5; ++expert) {
    matrices.emplace_back(random, storage().format, 21, width, storage().scales);
  }
  for (const RandomMatrix& matrix : matrices) {
    views.push_back(matrix.view());
  }
  // Expert 0 and 3 have no tokens, 1 has one, 2 many.
  ExpertInt8Problem problem = {views, random.normals(9 * width), {}, {0, 0, 1, 20, 20, 23}};
  for (Index slot = 0; slot < 23; ++slot) {
    problem.source.push_back(static_cast<std::int32_t>(random.index(0, 8)));
  }
  expect_contract(problem, backend());
  expect_contract(ExpertInt8Problem{views, random.normals(3 * width), {}, {0, 1, 1, 1, 2, 3}},
                  backend());
  expect_contract(ExpertInt8Problem{views, random.normals(width), {}, {0, 0, 0, 0, 0, 0}},
                  backend());
}

TEST_P(Int8Linear, NotANumberAndInfinitySpoilTheirTokenOnly) {
  Random random(306);
  const Index width = 5 * kBlock;
  const RandomMatrix matrix(random, storage().format, 18, width, storage().scales);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Int8Problem problem = {matrix.view(), 3, random.normals(3 * width)};
    const std::vector<float> clean = problem.x;
    problem.x[to_size(width + 70)] = bad;
    runtime::Runtime& runtime = runtime_of(backend(), 1);
    const auto found = problem.run<float>(runtime.context().f32, runtime.pool());
    const auto expected =
        Int8Problem{matrix.view(), 3, clean}.run<float>(runtime.context().f32, runtime.pool());
    for (const float value : found.row(1)) {
      EXPECT_TRUE(std::isnan(value));
    }
    EXPECT_TRUE(is_same(found.row(0), expected.row(0)));
    EXPECT_TRUE(is_same(found.row(2), expected.row(2)));
  }
}

INSTANTIATE_TEST_SUITE_P(Contract,
                         Int8Linear,
                         ::testing::Combine(::testing::ValuesIn(contract_backends()),
                                            ::testing::ValuesIn(storages_with_int8_blocks())),
                         [](const auto& item) {
                           return identifier(std::get<0>(item.param)) + "_" +
                                  name_of(std::get<1>(item.param));
                         });

class Int8LinearOfMxfp4 : public OnEveryBackend {};

TEST_P(Int8LinearOfMxfp4, EveryScaleGivesTheBitsOfAProduct) {
  Random random(310);
  constexpr Index kScales = 256;
  RandomMatrix matrix(random, WeightFormat::Mxfp4, kScales, kBlock, ScaleFormat::None);
  for (Index code = 0; code < kScales; ++code) {
    matrix.put_byte(code, 0, static_cast<std::uint8_t>(code));
  }
  runtime::Runtime& runtime = runtime_of(GetParam(), 2);
  for (const Index tokens : {1, 3, 20}) {  // few and many
    SCOPED_TRACE(tokens);
    const auto x = random.normals(tokens * kBlock);
    const auto found =
        Int8Problem{matrix.view(), tokens, x}.run<float>(runtime.context().f32, runtime.pool());
    for (Index token = 0; token < tokens; ++token) {
      std::uint8_t codes[kBlock];
      const auto rounded = numeric::round_to_int8_block(x.data() + token * kBlock, kBlock, codes);
      std::vector<float> expected;
      for (Index code = 0; code < kScales; ++code) {
        numeric::Int8Block block;
        numeric::read_int8_block(matrix.view(), code, 0, block);
        Index whole = 0;
        for (Index i = 0; i < kBlock; ++i) {
          whole += block.codes[i] * (Index{codes[i]} - rounded.zero);
        }
        const float scaled = static_cast<float>(whole) * block.scale;
        expected.push_back(scaled * rounded.scale);
      }
      EXPECT_TRUE(is_same(found.row(token), expected));
    }
  }
}

FATHOM_ON_EVERY_BACKEND(Int8LinearOfMxfp4);

TEST(Int8LinearMutation, ARoundedCodeThatIsOffByOneIsNoticed) {
  Random random(307);
  const RandomMatrix matrix(random, WeightFormat::Q8_0, 6, 64, ScaleFormat::None);
  expect_notices(
      Int8Problem{matrix.view(), 2, random.normals(128)}, &ops::KernelTable<float>::round_to_int8,
      [](const ops::RoundToInt8Args<float>& args, platform::ThreadPool& pool) noexcept {
        reference::round_to_int8(args, pool);
        args.out.codes.row(1)[40] = static_cast<std::uint8_t>(args.out.codes.row(1)[40] ^ 1U);
      });
}

TEST(Int8LinearMutation, AForgottenMinimumIsNoticed) {
  Random random(308);
  const RandomMatrix matrix(random, WeightFormat::Q4_1, 6, 64, ScaleFormat::None);
  expect_notices(Int8Problem{matrix.view(), 2, random.normals(128)},
                 &ops::KernelTable<float>::int8_linear,
                 [](const ops::Int8LinearArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   std::vector<std::int32_t> zeros(2 * to_size(args.x.sums.row_stride), 0);
                   auto wrong = args;
                   wrong.x.sums.data = zeros.data();
                   reference::int8_linear(wrong, pool);
                 });
}

TEST(Int8LinearMutation, ASlotOfTheNextExpertIsNoticed) {
  Random random(309);
  const RandomMatrix first(random, WeightFormat::Mxfp4, 4, 32, ScaleFormat::None);
  const RandomMatrix second(random, WeightFormat::Mxfp4, 4, 32, ScaleFormat::None);
  const ExpertInt8Problem problem = {
      {first.view(), second.view()}, random.normals(4 * 32), {}, {0, 2, 4}};
  expect_notices(
      problem, &ops::KernelTable<float>::expert_int8_linear,
      [](const ops::ExpertInt8LinearArgs<float>& args, platform::ThreadPool& pool) noexcept {
        const std::int32_t shifted[] = {0, 1, 4};
        auto wrong = args;
        wrong.offsets = shifted;
        reference::expert_int8_linear(wrong, pool);
      });
}

}  // namespace
}  // namespace fathom::testing
