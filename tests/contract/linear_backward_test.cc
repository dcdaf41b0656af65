// The contract of the backward halves of ops/linear.h: against the reference in double, in every
// format of weights, bitwise independent of the number of threads.
#include <cmath>
#include <limits>
#include <tuple>

#include "fathom/compute/ops/linear.h"

#include "tests/contract/contract.h"
#include "tests/contract/random_weights.h"

namespace fathom::testing {
namespace {

// linear_backward is one expert without `source`.
struct BackwardProblem {
  std::vector<numeric::WeightView> weights;
  std::vector<std::int32_t> source;  // may be empty
  std::vector<std::int32_t> offsets;
  std::vector<float> x;
  std::vector<float> d_out;
  std::vector<float> d_x;                     // as they are before
  std::vector<std::vector<float>> d_weights;  // empty ones are frozen
  bool is_linear = false;                     // computed by linear_backward
  Rounding operands = Rounding::None;

  Index columns() const { return weights.front().columns; }
  Index outputs() const { return weights.front().rows; }
  Index num_slots() const { return offsets.back(); }
  Index source_of(Index slot) const { return source.empty() ? slot : source[to_size(slot)]; }

  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> input(to_index(x.size()) / columns(), columns(), 5, x);
    Grid<Real> gradient(num_slots(), outputs(), 3, d_out);
    Grid<Real> d_input(to_index(x.size()) / columns(), columns(), 7, d_x);
    std::vector<Grid<Real>> d_matrices;
    std::vector<tensor::MatrixView<Real>> d_views(weights.size());
    d_matrices.reserve(weights.size());
    for (std::size_t expert = 0; expert < weights.size(); ++expert) {
      if (!d_weights[expert].empty()) {
        d_matrices.emplace_back(outputs(), columns(), 1, d_weights[expert]);
        d_views[expert] = d_matrices.back().view();
      }
    }
    if (is_linear) {
      kernels.training.linear_backward.run({.weight = weights.front(),
                                            .x = input.view(),
                                            .d_out = gradient.view(),
                                            .d_x = d_input.view(),
                                            .d_weight = d_views.front(),
                                            .operands = operands},
                                           pool);
    } else {
      kernels.training.expert_linear_backward.run({.weights = weights,
                                                   .x = input.view(),
                                                   .source = source,
                                                   .offsets = offsets,
                                                   .d_out = gradient.view(),
                                                   .d_x = d_input.view(),
                                                   .d_weights = d_views,
                                                   .operands = operands},
                                                  pool);
    }
    Result<Real> result;
    result.rows = 1;
    const auto add = [&](const Grid<Real>& grid, Index rows) {
      for (Index row = 0; row < rows; ++row) {
        result.values.insert(result.values.end(), grid.row(row), grid.row(row) + columns());
      }
      result.is_padding_untouched = result.is_padding_untouched && grid.is_padding_untouched();
    };
    add(d_input, to_index(x.size()) / columns());
    for (const Grid<Real>& grid : d_matrices) {
      add(grid, outputs());
    }
    return result;
  }

  // Every number is what was there and a sum of products.
  std::vector<double> limits(const Result<double>& expected) const {
    std::vector<double> squares;
    std::vector<Index> terms;
    const auto add = [&](const std::vector<float>& before) {
      for (const float value : before) {
        squares.push_back(static_cast<double>(value) * static_cast<double>(value));
        terms.push_back(1);
      }
    };
    add(d_x);
    for (const std::vector<float>& before : d_weights) {
      add(before);
    }
    std::size_t d_weight = d_x.size();
    for (std::size_t expert = 0; expert < weights.size(); ++expert) {
      const bool is_trained = !d_weights[expert].empty();
      for (Index row = 0; row < outputs(); ++row) {
        std::vector<double> decoded(to_size(columns()));
        numeric::decode_row(weights[expert], row, 0, columns(), decoded.data());
        for (Index slot = offsets[expert]; slot < offsets[expert + 1]; ++slot) {
          const double d = static_cast<double>(d_out[to_size(slot * outputs() + row)]);
          for (Index i = 0; i < columns(); ++i) {
            const std::size_t at = to_size(source_of(slot) * columns() + i);
            squares[at] += std::pow(d * decoded[to_size(i)], 2);
            ++terms[at];
            if (is_trained) {
              const std::size_t to = d_weight + to_size(row * columns() + i);
              squares[to] += std::pow(d * static_cast<double>(x[at]), 2);
              ++terms[to];
            }
          }
        }
      }
      d_weight += d_weights[expert].size();
    }
    std::vector<double> limits;
    for (std::size_t i = 0; i < expected.values.size(); ++i) {
      limits.push_back(rounding_limit(2 * terms[i], std::sqrt(squares[i])));
    }
    return limits;
  }
};

// Formats whose products are also tested with operands rounded to BF16: of fp32 numbers, of BF16
// numbers, and of blocks. Not with fp32 scales: what is decoded with them the reference rounds from
// a double, to other numbers now and then.
bool is_rounded_too(const numeric::WeightView& weight) {
  return (weight.format == WeightFormat::F32 || weight.format == WeightFormat::Fp8 ||
          weight.format == WeightFormat::Fp4 || weight.format == WeightFormat::Q4_K) &&
         weight.scale_format != ScaleFormat::F32;
}

void expect_backward(const BackwardProblem& problem, const std::string& backend) {
  if (problem.operands == Rounding::None && is_rounded_too(problem.weights.front())) {
    BackwardProblem rounded = problem;
    rounded.operands = Rounding::Bf16;
    expect_backward(rounded, backend);
  }
  const auto run = [&](int num_threads) {
    runtime::Runtime& runtime = runtime_of(backend, num_threads);
    return problem.run<float>(runtime.context().f32, runtime.pool());
  };
  const Result<float> found = run(1);
  EXPECT_TRUE(is_within_limits(problem, found));
  EXPECT_TRUE(found.is_padding_untouched);
  for (const int num_threads : {2, 3}) {
    EXPECT_TRUE(is_same(run(num_threads).values, found.values)) << num_threads << " threads";
  }
}

BackwardProblem linear_problem(Random& random,
                               const numeric::WeightView& weight,
                               Index tokens,
                               bool is_trained) {
  return {.weights = {weight},
          .source = {},
          .offsets = {0, static_cast<std::int32_t>(tokens)},
          .x = random.normals(tokens * weight.columns),
          .d_out = random.normals(tokens * weight.rows),
          .d_x = random.normals(tokens * weight.columns),
          .d_weights = {is_trained ? random.normals(weight.rows * weight.columns)
                                   : std::vector<float>()},
          .is_linear = true};
}

// Expert 0 and 3 have no slots, 1 has one, 2 and 4 more; with `source` several slots share a row,
// also within an expert. Expert 2 is frozen.
BackwardProblem expert_problem(Random& random,
                               const std::vector<numeric::WeightView>& weights,
                               bool has_source) {
  const Index columns = weights.front().columns;
  const Index outputs = weights.front().rows;
  const Index num_rows = has_source ? 9 : 23;
  BackwardProblem problem = {.weights = weights,
                             .source = {},
                             .offsets = {0, 0, 1, 20, 20, 23},
                             .x = random.normals(num_rows * columns),
                             .d_out = random.normals(23 * outputs),
                             .d_x = random.normals(num_rows * columns),
                             .d_weights = {}};
  for (Index slot = 0; has_source && slot < 23; ++slot) {
    problem.source.push_back(static_cast<std::int32_t>(random.index(0, num_rows - 1)));
  }
  for (std::size_t expert = 0; expert < weights.size(); ++expert) {
    problem.d_weights.push_back(expert == 2 ? std::vector<float>()
                                            : random.normals(outputs * columns));
  }
  return problem;
}

class LinearBackward : public ::testing::TestWithParam<std::tuple<std::string, Storage>> {
 protected:
  const std::string& backend() const { return std::get<0>(GetParam()); }
  const Storage& storage() const { return std::get<1>(GetParam()); }
  // Columns that end inside a vector, a panel and a block of decoded columns.
  std::vector<Index> columns() const {
    const Index block = numeric::info(storage().format).block_columns;
    if (block == 1) {
      return {1, 7, 16, 33, 300};
    }
    return {block, block == 32 ? 9 * block : 2 * block};
  }
};

TEST_P(LinearBackward, KeepsTheContract) {
  Random random(191);
  for (const Index width : columns()) {
    for (const auto& [tokens, outputs] :
         {std::pair<Index, Index>{0, 3}, {1, 37}, {2, 1}, {5, 17}, {19, 150}}) {
      SCOPED_TRACE(std::to_string(tokens) + " x " + std::to_string(width) + " to " +
                   std::to_string(outputs));
      const RandomMatrix matrix(random, storage().format, outputs, width, storage().scales);
      expect_backward(linear_problem(random, matrix.view(), tokens, false), backend());
    }
  }
}

TEST_P(LinearBackward, ExpertsKeepTheContractWithAndWithoutSource) {
  Random random(192);
  std::vector<RandomMatrix> matrices;
  std::vector<numeric::WeightView> views;
  for (int expert = 0; expert < 5; ++expert) {
    matrices.emplace_back(random, storage().format, 21, columns().back(), storage().scales);
  }
  for (const RandomMatrix& matrix : matrices) {
    views.push_back(matrix.view());
  }
  for (const bool has_source : {false, true}) {
    expect_backward(expert_problem(random, views, has_source), backend());
  }
}

TEST_P(LinearBackward, RowsSlicedFromTheMiddleOfATileKeepTheirScales) {
  Random random(193);
  const RandomMatrix matrix(random, storage().format, 140, columns().back(), storage().scales);
  expect_backward(linear_problem(random, matrix.view().slice_rows(101, 39), 3, true), backend());
}

INSTANTIATE_TEST_SUITE_P(Contract,
                         LinearBackward,
                         ::testing::Combine(::testing::ValuesIn(contract_backends()),
                                            ::testing::ValuesIn(every_storage())),
                         [](const auto& item) {
                           return identifier(std::get<0>(item.param)) + "_" +
                                  name_of(std::get<1>(item.param));
                         });

class TrainedLinearBackward : public OnEveryBackend {};

// Sizes on either side of every border: registers, panels, groups, steps, tiles of slots.
TEST_P(TrainedLinearBackward, KeepsTheContractAtOddSizes) {
  Random random(194);
  for (const auto& [tokens, width, outputs] : {std::tuple<Index, Index, Index>{1, 1, 1},
                                               {3, 50, 9},
                                               {129, 97, 65},
                                               {300, 31, 140},
                                               {257, 385, 8},
                                               {7, 400, 260},
                                               {530, 20, 18}}) {
    SCOPED_TRACE(std::to_string(tokens) + " x " + std::to_string(width) + " to " +
                 std::to_string(outputs));
    const RandomMatrix matrix(random, WeightFormat::F32, outputs, width, ScaleFormat::None);
    expect_backward(linear_problem(random, matrix.view(), tokens, true), GetParam());
  }
}

TEST_P(TrainedLinearBackward, ManySlotsOfManyExpertsKeepTheContract) {
  Random random(195);
  std::vector<RandomMatrix> matrices;
  std::vector<numeric::WeightView> views;
  for (int expert = 0; expert < 4; ++expert) {
    matrices.emplace_back(random, WeightFormat::F32, 40, 70, ScaleFormat::None);
  }
  for (const RandomMatrix& matrix : matrices) {
    views.push_back(matrix.view());
  }
  for (const bool has_source : {false, true}) {
    BackwardProblem problem = {.weights = views,
                               .source = {},
                               .offsets = {0, 300, 300, 310, 700},
                               .x = {},
                               .d_out = random.normals(700 * 40),
                               .d_x = {},
                               .d_weights = {}};
    const Index num_rows = has_source ? 310 : 700;
    problem.x = random.normals(num_rows * 70);
    problem.d_x = random.normals(num_rows * 70);
    for (Index slot = 0; has_source && slot < 700; ++slot) {
      problem.source.push_back(static_cast<std::int32_t>(random.index(0, num_rows - 1)));
    }
    for (int expert = 0; expert < 4; ++expert) {
      problem.d_weights.push_back(random.normals(40 * 70));
    }
    expect_backward(problem, GetParam());
  }
}

// Every number has the class of the reference's: NaN, either infinity or finite.
TEST_P(TrainedLinearBackward, InfinityAndNanReachWhatTheyMeetAndNothingElse) {
  Random random(196);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const RandomMatrix matrix(random, WeightFormat::F32, 35, 70, ScaleFormat::None);
  BackwardProblem problem = linear_problem(random, matrix.view(), 21, true);
  problem.x[3] = kNan;
  problem.x[20 * 70 + 69] = kInfinity;
  problem.d_out[2 * 35 + 4] = kInfinity;
  problem.d_out[20 * 35 + 34] = kNan;
  problem.d_out[5 * 35 + 1] = -kInfinity;
  problem.d_x[7] = kNan;
  problem.d_weights[0][11] = kNan;
  for (const auto& [num_threads, operands] :
       {std::pair{1, Rounding::None}, {2, Rounding::None}, {2, Rounding::Bf16}}) {
    problem.operands = operands;
    runtime::Runtime& runtime = runtime_of(GetParam(), num_threads);
    const auto found = problem.run<float>(runtime.context().f32, runtime.pool());
    const auto expected =
        problem.run<float>(runtime_of("reference", 1).context().f32, runtime.pool());
    for (std::size_t i = 0; i < expected.values.size(); ++i) {
      const float value = found.values[i];
      const float reference = expected.values[i];
      ASSERT_EQ(std::isnan(value), std::isnan(reference)) << i;
      ASSERT_EQ(std::isinf(value), std::isinf(reference)) << i;
      ASSERT_TRUE(!std::isinf(value) || value == reference) << i;
    }
  }
}

FATHOM_ON_EVERY_BACKEND(TrainedLinearBackward);

// The comparison goes red for a kernel with one mistake.
TEST(LinearBackwardMutation, OneForgottenTermIsNoticed) {
  Random random(197);
  const RandomMatrix matrix(random, WeightFormat::F32, 12, 33, ScaleFormat::None);
  const BackwardProblem problem = linear_problem(random, matrix.view(), 6, true);
  ops::KernelTable<float> table = reference::kernels<float>();
  auto& pool = runtime_of("reference", 1).pool();
  EXPECT_TRUE(is_within_limits(problem, problem.run<float>(table, pool)));
  table.training.linear_backward.run = [](const ops::LinearBackwardArgs<float>& args,
                                          platform::ThreadPool& threads) {
    auto wrong = args;
    wrong.d_x.rows = wrong.x.rows -= 1;
    wrong.d_out.rows -= 1;
    reference::linear_backward(wrong, threads);
  };
  EXPECT_FALSE(is_within_limits(problem, problem.run<float>(table, pool)));
}

TEST(LinearBackwardMutation, OperandsThatAreNotRoundedAreNoticed) {
  Random random(199);
  const RandomMatrix matrix(random, WeightFormat::F32, 12, 33, ScaleFormat::None);
  BackwardProblem problem = linear_problem(random, matrix.view(), 6, true);
  problem.operands = Rounding::Bf16;
  ops::KernelTable<float> table = reference::kernels<float>();
  auto& pool = runtime_of("reference", 1).pool();
  EXPECT_TRUE(is_within_limits(problem, problem.run<float>(table, pool)));
  table.training.linear_backward.run = [](const ops::LinearBackwardArgs<float>& args,
                                          platform::ThreadPool& threads) {
    auto wrong = args;
    wrong.operands = Rounding::None;
    reference::linear_backward(wrong, threads);
  };
  EXPECT_FALSE(is_within_limits(problem, problem.run<float>(table, pool)));
}

TEST(LinearBackwardMutation, ASlotOfTheNextExpertIsNoticed) {
  Random random(198);
  const RandomMatrix first(random, WeightFormat::BF16, 4, 32, ScaleFormat::None);
  const RandomMatrix second(random, WeightFormat::BF16, 4, 32, ScaleFormat::None);
  BackwardProblem problem = linear_problem(random, first.view(), 4, false);
  problem.is_linear = false;
  problem.weights.push_back(second.view());
  problem.offsets = {0, 2, 4};
  problem.d_weights.emplace_back();
  ops::KernelTable<float> table = reference::kernels<float>();
  auto& pool = runtime_of("reference", 1).pool();
  EXPECT_TRUE(is_within_limits(problem, problem.run<float>(table, pool)));
  table.training.expert_linear_backward.run = [](const ops::ExpertLinearBackwardArgs<float>& args,
                                                 platform::ThreadPool& threads) {
    const std::int32_t shifted[] = {0, 1, 4};
    auto wrong = args;
    wrong.offsets = shifted;
    reference::expert_linear_backward(wrong, threads);
  };
  EXPECT_FALSE(is_within_limits(problem, problem.run<float>(table, pool)));
}

}  // namespace
}  // namespace fathom::testing
