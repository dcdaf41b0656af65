// The contract of ops/index_select.h. Choices are discrete: with operands on a coarse grid every
// product and sum is exact in fp32 and BF16 alike, so scores tie often and choices are equal.
#include "fathom/compute/ops/index_select.h"

#include "fathom/compute/numeric/int16_rows.h"

#include "tests/contract/contract.h"

namespace fathom::testing {
namespace {

// Keys as a cache of codes has them.
class CodePages {
 public:
  CodePages(Index num_keys, Index width, const std::vector<float>& keys)
      : num_keys_(num_keys), row_codes_(numeric::int16_row_bytes(width) / 2) {
    constexpr Index kRows = tensor::RowTable<std::int16_t>::kRowsPerPage;
    const Index num_pages = ceil_div(num_keys, kRows);
    codes_.resize(to_size(num_pages * kRows * row_codes_), -1);
    for (Index key = 0; key < num_keys; ++key) {
      numeric::write_int16_row(keys.data() + key * width, width, codes_.data() + key * row_codes_);
    }
    for (Index page = 0; page < num_pages; ++page) {
      pages_.push_back(codes_.data() + page * kRows * row_codes_);
    }
  }
  tensor::RowTable<std::int16_t> table() const { return {pages_.data(), num_keys_, row_codes_}; }

 private:
  Index num_keys_;
  Index row_codes_;
  std::vector<std::int16_t> codes_;
  std::vector<const std::int16_t*> pages_;
};

struct SelectProblem {
  Index rows;
  Index num_heads;
  Index width;
  Index num_keys;
  Index top_k;
  Rounding numerics;
  std::vector<float> query;
  std::vector<float> weight;
  std::vector<float> keys;
  std::vector<Index> num_visible;
  Rounding rounding = Rounding::None;  // of the ids: they are not rounded
  std::vector<Index> first_keys = {};  // empty: one sequence
  bool has_codes = false;              // keys are 16-bit codes

  SelectProblem row(Index idx) const {
    SelectProblem one = *this;
    one.rows = 1;
    one.query = rows_of(query, num_heads * width, idx);
    one.weight = rows_of(weight, num_heads, idx);
    one.num_visible = {num_visible[to_size(idx)]};
    if (!first_keys.empty()) {
      one.first_keys = {first_keys[to_size(idx)]};
    }
    return one;
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> queries(rows, num_heads * width, 3, query);
    Grid<Real> weights(rows, num_heads, 1, weight);
    Grid<Real> scratch(pool.num_threads(),
                       ops::IndexSelectArgs<Real>::scratch_columns(num_heads, width, num_keys), 0);
    Grid<std::int32_t> out(rows, top_k, 2);
    const auto select = [&](const auto& kernel, const auto& pages) {
      kernel.run({.query = queries.view(),
                  .weight = weights.view(),
                  .keys = pages.table(),
                  .num_visible = num_visible,
                  .first_keys = first_keys,
                  .rounding = numerics,
                  .scratch = scratch.view(),
                  .out = out.view()},
                 pool);
    };
    if (has_codes) {
      select(kernels.int16_index_select, CodePages(num_keys, width, keys));
    } else {
      select(kernels.index_select, Pages<Real>(num_keys, width, keys));
    }
    return result_of<Real>(rows, out);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    return std::vector<double>(expected.values.size());
  }
};

std::vector<float> whole_numbers(Random& random, Index count) {
  std::vector<float> values;
  for (Index i = 0; i < count; ++i) {
    values.push_back(static_cast<float>(random.index(-1, 1)));
  }
  return values;
}

// Rows of small whole numbers and one of 2,047, so that the codes are the numbers themselves. Where
// queries have that one keys have 0, and the other way round: products and sums are exact again.
std::vector<float> rows_of_codes(Random& random, Index num_rows, Index width, Index largest_at) {
  std::vector<float> values = whole_numbers(random, num_rows * width);
  for (Index row = 0; row < num_rows; ++row) {
    for (Index i = 0; i < width; ++i) {
      float& value = values[to_size(row * width + i)];
      value = i > 1 ? 16 * value : i == largest_at ? 2047.0F : 0.0F;
    }
  }
  return values;
}

SelectProblem draw(Random& random,
                   Index rows,
                   Index num_heads,
                   Index width,
                   Index num_keys,
                   Index top_k,
                   Rounding numerics) {
  SelectProblem problem = {rows,
                           num_heads,
                           width,
                           num_keys,
                           top_k,
                           numerics,
                           whole_numbers(random, rows * num_heads * width),
                           whole_numbers(random, rows * num_heads),
                           whole_numbers(random, num_keys * width),
                           {}};
  for (Index row = 0; row < rows; ++row) {
    problem.num_visible.push_back(random.index(0, num_keys));
  }
  problem.num_visible.back() = num_keys;
  return problem;
}

SelectProblem with_codes(Random& random, SelectProblem problem) {
  problem.has_codes = true;
  problem.query = rows_of_codes(random, problem.rows * problem.num_heads, problem.width, 0);
  problem.keys = rows_of_codes(random, problem.num_keys, problem.width, 1);
  return problem;
}

class IndexSelect : public OnEveryBackend {};

TEST_P(IndexSelect, ChoosesWhatTheReferenceChoosesTiesIncluded) {
  Random random(121);
  for (const Index num_keys : {1, 17, 70, 300}) {
    for (const Index top_k : {1, 4, 16}) {
      for (const Index num_heads : {1, 3, 24, 48}) {
        for (const Rounding numerics : {Rounding::None, Rounding::Bf16}) {
          for (const Index width : {5, 64}) {
            SCOPED_TRACE(std::to_string(top_k) + " of " + std::to_string(num_keys) + ", " +
                         std::to_string(num_heads) + " heads of " + std::to_string(width));
            expect_contract(
                draw(random, random.index(1, 19), num_heads, width, num_keys, top_k, numerics),
                GetParam());
          }
        }
      }
    }
  }
}

TEST_P(IndexSelect, ChoosesByCodesWhatTheReferenceChooses) {
  Random random(127);
  for (const Index num_keys : {1, 70, 300}) {
    for (const Index num_heads : {1, 3, 24, 48, 64}) {
      for (const Index width : {2, 5, 32, 44, 128}) {
        SCOPED_TRACE(std::to_string(num_keys) + " keys, " + std::to_string(num_heads) +
                     " heads of " + std::to_string(width));
        const auto problem =
            draw(random, random.index(1, 19), num_heads, width, num_keys, 4, Rounding::None);
        expect_contract(with_codes(random, problem), GetParam());
      }
    }
  }
}

TEST_P(IndexSelect, TokensOfSeveralSequencesEachSeeTheirOwnKeys) {
  Random random(125);
  for (const Index rows : {3, 9, 18}) {
    auto problem = draw(random, rows, 3, 16, 300, 8, Rounding::None);
    for (Index& visible : problem.num_visible) {
      problem.first_keys.push_back(random.index(0, 150));
      visible = std::min(visible, 300 - problem.first_keys.back());
    }
    expect_contract(problem, GetParam());
    expect_contract(with_codes(random, problem), GetParam());
  }
}

TEST_P(IndexSelect, NanKeysAreChosenLast) {
  Random random(122);
  auto problem = draw(random, 2, 2, 16, 40, 8, Rounding::None);
  problem.keys[3 * 16] = std::numeric_limits<float>::quiet_NaN();
  problem.weight = {1, 1, 1, 1};
  problem.query.assign(problem.query.size(), 1);
  expect_contract(problem, GetParam());
  problem.has_codes = true;
  expect_contract(problem, GetParam());
}

TEST_P(IndexSelect, SumsOfTheLargestCodesFit) {
  Random random(129);
  auto problem = draw(random, 3, 16, numeric::kMostInt16RowNumbers, 40, 8, Rounding::None);
  problem.has_codes = true;
  problem.query.assign(problem.query.size(), 1);
  problem.weight.assign(problem.weight.size(), 1);
  problem.num_visible.assign(3, 40);
  for (Index key = 0; key < 40; ++key) {
    const float sign = key % 5 == 4 ? 1.0F : -1.0F;
    std::fill_n(problem.keys.begin() + key * problem.width, problem.width, sign);
  }
  runtime::Runtime& runtime = runtime_of(GetParam(), 2);
  const auto found = problem.run<float>(runtime.context().f32, runtime.pool());
  for (Index row = 0; row < 3; ++row) {
    EXPECT_EQ(found.row(row), (std::vector<float>{4, 9, 14, 19, 24, 29, 34, 39}));
  }
}

// What codes stand for.
std::vector<float> rounded_rows(std::vector<float> numbers, Index width) {
  std::vector<std::int16_t> codes(to_size(width));
  for (Index row = 0; row < to_index(numbers.size()) / width; ++row) {
    float* x = numbers.data() + row * width;
    const float scale = numeric::round_to_int16_row(x, width, codes.data());
    std::transform(codes.begin(), codes.end(), x,
                   [&](std::int16_t code) { return static_cast<float>(code) * scale; });
  }
  return numbers;
}

// The sum over heads of products that rounding could reorder: the choice may differ only among
// blocks whose scores are closer than the limit.
TEST_P(IndexSelect, RealNumbersChooseTheBestUpToRounding) {
  Random random(123);
  constexpr Index kHeads = 8;
  constexpr Index kWidth = 64;
  auto problem = draw(random, 5, kHeads, kWidth, 200, 16, Rounding::None);
  problem.query = random.normals(5 * kHeads * kWidth);
  problem.weight = random.normals(5 * kHeads);
  problem.keys = random.normals(200 * kWidth);
  for (const bool has_codes : {false, true}) {
    problem.has_codes = has_codes;
    const std::vector<float> query =
        has_codes ? rounded_rows(problem.query, kWidth) : problem.query;
    const std::vector<float> keys = has_codes ? rounded_rows(problem.keys, kWidth) : problem.keys;
    runtime::Runtime& runtime = runtime_of(GetParam(), 2);
    const auto found = problem.run<float>(runtime.context().f32, runtime.pool());
    for (Index row = 0; row < 5; ++row) {
      std::vector<double> scores;
      for (Index key = 0; key < problem.num_visible[to_size(row)]; ++key) {
        double score = 0;
        for (Index head = 0; head < kHeads; ++head) {
          double product = 0;
          for (Index i = 0; i < kWidth; ++i) {
            product += static_cast<double>(query[to_size((row * kHeads + head) * kWidth + i)]) *
                       static_cast<double>(keys[to_size(key * kWidth + i)]);
          }
          score += std::max(product, 0.0) *
                   static_cast<double>(problem.weight[to_size(row * kHeads + head)]);
        }
        scores.push_back(score);
      }
      const auto ids = found.row(row);
      std::set<Index> chosen;
      for (const float id : ids) {
        if (id >= 0) {
          chosen.insert(static_cast<Index>(id));
        }
      }
      ASSERT_EQ(to_index(chosen.size()), std::min<Index>(16, to_index(scores.size())));
      double worst_in = INFINITY;
      double best_out = -INFINITY;
      for (Index key = 0; key < to_index(scores.size()); ++key) {
        double& bound = chosen.contains(key) ? worst_in : best_out;
        bound = chosen.contains(key) ? std::min(bound, scores[to_size(key)])
                                     : std::max(bound, scores[to_size(key)]);
      }
      const double magnitude =
          norm_of(problem.query.data() + row * kHeads * kWidth, kHeads * kWidth) *
          std::sqrt(kWidth) * largest_of(problem.weight);
      EXPECT_TRUE(worst_in >= best_out - rounding_limit(kWidth + kHeads, magnitude))
          << worst_in << " " << best_out;
    }
  }
}

FATHOM_ON_EVERY_BACKEND(IndexSelect);

template <typename Args>
Args without_last_head(Args args) {
  const Index width = args.width();
  args.weight.columns -= 1;
  args.query.columns -= width;
  return args;
}

TEST(IndexSelectMutation, AForgottenHeadIsNoticed) {
  Random random(124);
  expect_notices(draw(random, 40, 3, 16, 60, 8, Rounding::None),
                 &ops::KernelTable<float>::index_select,
                 [](const ops::IndexSelectArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   reference::index_select(without_last_head(args), pool);
                 });
}

TEST(IndexSelectMutation, AForgottenHeadOfCodesIsNoticed) {
  Random random(128);
  expect_notices(
      with_codes(random, draw(random, 40, 3, 16, 60, 8, Rounding::None)),
      &ops::KernelTable<float>::int16_index_select,
      [](const ops::Int16IndexSelectArgs<float>& args, platform::ThreadPool& pool) noexcept {
        reference::int16_index_select(without_last_head(args), pool);
      });
}

TEST(IndexSelectMutation, KeysOfAnotherSequenceAreNoticed) {
  Random random(126);
  auto problem = draw(random, 40, 3, 16, 60, 8, Rounding::None);
  problem.num_visible.assign(40, 30);
  problem.first_keys.assign(40, 30);
  expect_notices(problem, &ops::KernelTable<float>::index_select,
                 [](const ops::IndexSelectArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   wrong.first_keys = {};
                   reference::index_select(wrong, pool);
                 });
}

}  // namespace
}  // namespace fathom::testing
