// The contract of ops/embed.h, in every format of weights.
#include "fathom/compute/ops/embed.h"

#include <limits>
#include <tuple>

#include "tests/contract/contract.h"
#include "tests/contract/random_weights.h"

namespace fathom::testing {
namespace {

struct EmbedProblem {
  numeric::WeightView table;
  std::vector<std::int32_t> tokens;
  Rounding rounding = Rounding::None;

  EmbedProblem row(Index idx) const { return {table, {tokens[to_size(idx)]}}; }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> out(to_index(tokens.size()), table.columns, 3);
    kernels.embed.run({.table = table, .tokens = tokens, .out = out.view()}, pool);
    return result_of<Real>(to_index(tokens.size()), out);
  }
  // Exact but for FP8 with scales that are no powers of two: one product.
  std::vector<double> limits(const Result<double>& expected) const {
    const Index num_roundings = table.scale_format == ScaleFormat::F32 ? 1 : 0;
    return limits_by_value(
        expected, [&](double value) { return rounding_limit(num_roundings, std::abs(value)); });
  }
};

class Embed : public ::testing::TestWithParam<std::tuple<std::string, Storage>> {};

TEST_P(Embed, KeepsTheContract) {
  const auto& [backend, storage] = GetParam();
  Random random(101);
  const Index block = numeric::info(storage.format).block_columns;
  for (const Index width : {block == 1 ? 37 : block, 3 * block}) {
    const RandomMatrix matrix(random, storage.format, 150, width, storage.scales);
    EmbedProblem problem = {matrix.view(), {149, 0, 0, 127, 128}};
    expect_contract(problem, backend);
    for (int i = 0; i < 40; ++i) {
      problem.tokens.push_back(static_cast<std::int32_t>(random.index(0, 149)));
    }
    expect_contract(problem, backend);
  }
}

INSTANTIATE_TEST_SUITE_P(Contract,
                         Embed,
                         ::testing::Combine(::testing::ValuesIn(contract_backends()),
                                            ::testing::ValuesIn(every_storage())),
                         [](const auto& item) {
                           return identifier(std::get<0>(item.param)) + "_" +
                                  name_of(std::get<1>(item.param));
                         });

TEST(EmbedMutation, TheRowOfAnotherTokenIsNoticed) {
  Random random(102);
  const RandomMatrix matrix(random, WeightFormat::Q8_0, 10, 64, ScaleFormat::None);
  expect_notices(EmbedProblem{matrix.view(), {1, 2, 3}}, &ops::KernelTable<float>::embed,
                 [](const ops::EmbedArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   const std::int32_t tokens[] = {1, 2, 4};
                   auto wrong = args;
                   wrong.tokens = tokens;
                   reference::embed(wrong, pool);
                 });
}

struct EmbedBackwardProblem {
  std::vector<std::int32_t> tokens;
  Index width;
  std::vector<float> d_out;
  std::vector<float> d_table;  // [20, width], as it is before

  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> gradient(to_index(tokens.size()), width, 3, d_out);
    Grid<Real> table(20, width, 5, d_table);
    kernels.training.embed_backward.run(
        {.tokens = tokens, .d_out = gradient.view(), .d_table = table.view()}, pool);
    return result_of<Real>(20, table);
  }
};

class EmbedBackward : public OnEveryBackend {};

// Every token adds its gradient in turn: the reference's bits.
TEST_P(EmbedBackward, AddsInTheOrderOfTheTokens) {
  Random random(103);
  for (const Index width : {Index{1}, Index{37}, Index{64}, Index{200}}) {
    EmbedBackwardProblem problem = {
        {19, 0, 0, 7, 0}, width, random.normals(45 * width), random.normals(20 * width)};
    while (problem.tokens.size() < 45) {
      problem.tokens.push_back(static_cast<std::int32_t>(random.index(0, 19)));
    }
    problem.d_out[3] = std::numeric_limits<float>::quiet_NaN();
    const auto expected = problem.run<float>(runtime_of("reference", 1).context().f32,
                                             runtime_of("reference", 1).pool());
    for (const int num_threads : {1, 2, 3}) {
      runtime::Runtime& runtime = runtime_of(GetParam(), num_threads);
      const auto found = problem.run<float>(runtime.context().f32, runtime.pool());
      EXPECT_TRUE(found.is_padding_untouched);
      EXPECT_TRUE(is_same(found.values, expected.values)) << width;
    }
  }
}

FATHOM_ON_EVERY_BACKEND(EmbedBackward);

}  // namespace
}  // namespace fathom::testing
