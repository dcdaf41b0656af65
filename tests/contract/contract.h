// What every kernel of every backend must keep, whatever the op: it computes what the reference
// computes in double, bitwise independent of the number of threads and of the rows beside it, and
// writes nothing but its output.
//
// A test describes an op's operands as a Problem:
//   template <typename Real> Result<Real> run(const ops::KernelTable<Real>&, platform::ThreadPool&)
//   std::vector<double> limits(const Result<double>& expected)   how far each number may be off
//   Problem row(Index idx)                                       row idx as a problem of its own
//   ops::Rounding rounding                                       Bf16: every result is a BF16
//   number
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/compute/backends/reference/kernels.h"
#include "fathom/compute/numeric/small_floats.h"
#include "fathom/compute/runtime/runtime.h"

#include "tests/support/tolerance.h"

namespace fathom::testing {

using ops::Rounding;

// Always the same operands, unless --gtest_random_seed=N asks for others. (UnitTest::random_seed()
// would be another one in every run.)
class Random {
 public:
  explicit Random(unsigned salt)
      : engine_(1000U * static_cast<unsigned>(GTEST_FLAG_GET(random_seed)) + salt) {}

  Index index(Index first, Index last) {
    return std::uniform_int_distribution<Index>(first, last)(engine_);
  }
  std::byte byte() { return static_cast<std::byte>(index(0, 255)); }
  float normal(double deviation = 1) {
    return std::normal_distribution<float>(0, static_cast<float>(deviation))(engine_);
  }
  // Numbers as activations have them: BF16 where the official numerics hold.
  std::vector<float> normals(Index count,
                             Rounding rounding = Rounding::None,
                             double deviation = 1) {
    std::vector<float> values(to_size(count));
    for (float& value : values) {
      value = normal(deviation);
      value = rounding == Rounding::Bf16 ? numeric::round_bf16(value) : value;
    }
    return values;
  }

 private:
  std::mt19937_64 engine_;
};

// A matrix with padding behind every row that must be neither read nor written: it holds NaN.
template <typename Value>
class Grid {
 public:
  Grid(Index rows, Index columns, Index padding)
      : rows_(rows), columns_(columns), stride_(columns + padding) {
    values_.assign(to_size(rows * stride_), canary());
  }
  template <typename From>
  Grid(Index rows, Index columns, Index padding, const std::vector<From>& values)
      : Grid(rows, columns, padding) {
    for (Index row = 0; row < rows; ++row) {
      for (Index i = 0; i < columns; ++i) {
        values_[to_size(row * stride_ + i)] =
            static_cast<Value>(values.at(to_size(row * columns + i)));
      }
    }
  }

  tensor::MatrixView<Value> view() { return {values_.data(), rows_, columns_, stride_}; }
  const Value* row(Index idx) const { return values_.data() + idx * stride_; }
  Index columns() const { return columns_; }

  bool is_padding_untouched() const {
    const Value expected = canary();
    for (Index row = 0; row < rows_; ++row) {
      for (Index i = columns_; i < stride_; ++i) {
        if (std::memcmp(this->row(row) + i, &expected, sizeof(Value)) != 0) {
          return false;
        }
      }
    }
    return true;
  }

 private:
  static Value canary() {
    if constexpr (std::is_floating_point_v<Value>) {
      return std::numeric_limits<Value>::quiet_NaN();
    } else {
      return static_cast<Value>(-77);
    }
  }

  Index rows_;
  Index columns_;
  Index stride_;
  std::vector<Value> values_;
};

// Rows in pages, as the cache has them. Pages that hold only rows before `first_row` are absent.
template <typename Real>
class Pages {
 public:
  Pages(Index num_rows, Index width, const std::vector<float>& values, Index first_row = 0)
      : num_rows_(num_rows), width_(width) {
    constexpr Index kRows = tensor::RowTable<Real>::kRowsPerPage;
    const Index num_pages = ceil_div(num_rows, kRows);
    values_.assign(to_size(num_pages * kRows * width),
                   kept(std::numeric_limits<float>::quiet_NaN()));
    std::transform(values.begin(), values.begin() + num_rows * width, values_.begin(), kept);
    for (Index page = 0; page < num_pages; ++page) {
      const bool is_present = (page + 1) * kRows > first_row;
      pages_.push_back(is_present ? values_.data() + page * kRows * width : nullptr);
    }
  }
  tensor::RowTable<Real> table() const { return {pages_.data(), num_rows_, width_}; }
  tensor::PagedRows view() const {
    return {tensor::dtype_of<Real>(), reinterpret_cast<const void* const*>(pages_.data()),
            num_rows_, width_};
  }

 private:
  // std::uint16_t: the bits of BF16.
  static Real kept(float value) {
    if constexpr (std::is_same_v<Real, std::uint16_t>) {
      return numeric::float_to_bf16(value);
    } else {
      return static_cast<Real>(value);
    }
  }

  Index num_rows_;
  Index width_;
  std::vector<Real> values_;
  std::vector<const Real*> pages_;
};

// What a kernel computed, row by row; several outputs of one row stand one after another.
template <typename Real>
struct Result {
  Index rows = 0;
  std::vector<Real> values;
  bool is_padding_untouched = true;

  Index columns() const { return rows == 0 ? 0 : to_index(values.size()) / rows; }
  std::vector<Real> row(Index idx) const {
    const auto begin = values.begin() + idx * columns();
    return {begin, begin + columns()};
  }
};

template <typename Real, typename... Values>
Result<Real> result_of(Index rows, const Grid<Values>&... grids) {
  Result<Real> result;
  result.rows = rows;
  for (Index row = 0; row < rows; ++row) {
    const auto add = [&](const auto& grid) {
      for (Index i = 0; i < grid.columns(); ++i) {
        result.values.push_back(static_cast<Real>(grid.row(row)[i]));
      }
    };
    (add(grids), ...);
  }
  result.is_padding_untouched = (grids.is_padding_untouched() && ...);
  return result;
}

// Rows `idx` of a matrix of `columns` columns.
template <typename Value>
std::vector<Value> rows_of(const std::vector<Value>& values,
                           Index columns,
                           Index first,
                           Index count = 1) {
  const auto begin = values.begin() + first * columns;
  return {begin, begin + count * columns};
}

inline double norm_of(const float* values, Index count) {
  double sum = 0;
  for (Index i = 0; i < count; ++i) {
    sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  }
  return std::sqrt(sum);
}

inline double largest_of(const std::vector<float>& values) {
  double largest = 0;
  for (const float value : values) {
    largest = std::max(largest, std::abs(static_cast<double>(value)));
  }
  return largest;
}

// One limit for every number, from its expected value.
template <typename Limit>
std::vector<double> limits_by_value(const Result<double>& expected, const Limit& limit) {
  std::vector<double> limits;
  for (const double value : expected.values) {
    limits.push_back(limit(value));
  }
  return limits;
}

inline const ops::KernelTable<double>& exact_kernels() {
  static const ops::KernelTable<double> table = reference::kernels<double>();
  return table;
}

// One runtime per backend and number of threads for the whole binary.
inline runtime::Runtime& runtime_of(const std::string& backend, int num_threads) {
  static std::map<std::pair<std::string, int>, std::unique_ptr<runtime::Runtime>> runtimes;
  // Each reserves addresses for its steps, which qemu has few of: those of one backend at a time,
  // and the reference's.
  static std::string last;
  if (backend != "reference" && backend != last) {
    std::erase_if(runtimes, [&](const auto& item) { return item.first.first == last; });
    last = backend;
  }
  auto& entry = runtimes[{backend, num_threads}];
  if (entry == nullptr) {
    entry = std::make_unique<runtime::Runtime>(
        runtime::RuntimeOptions{.num_threads = num_threads, .backend = backend});
  }
  return *entry;
}

template <typename Problem>
::testing::AssertionResult is_within_limits(const Problem& problem, const Result<float>& found) {
  const auto expected =
      problem.template run<double>(exact_kernels(), runtime_of("reference", 1).pool());
  const std::vector<double> limits = problem.limits(expected);
  if (found.values.size() != expected.values.size() || limits.size() != expected.values.size()) {
    return ::testing::AssertionFailure() << found.values.size() << " numbers and " << limits.size()
                                         << " limits, expected " << expected.values.size();
  }
  for (std::size_t i = 0; i < limits.size(); ++i) {
    const double error = std::abs(static_cast<double>(found.values[i]) - expected.values[i]);
    // Written as "not within", because every comparison with a NaN is false.
    if (!(error <= limits[i])) {
      return ::testing::AssertionFailure()
             << "row " << to_index(i) / expected.columns() << " number "
             << to_index(i) % expected.columns() << " is " << found.values[i] << ", expected "
             << expected.values[i] << " within " << limits[i];
    }
  }
  return ::testing::AssertionSuccess();
}

inline ::testing::AssertionResult is_same(const std::vector<float>& found,
                                          const std::vector<float>& expected) {
  if (found.size() != expected.size()) {
    return ::testing::AssertionFailure()
           << found.size() << " numbers, expected " << expected.size();
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (std::memcmp(&found[i], &expected[i], sizeof(float)) != 0) {
      return ::testing::AssertionFailure()
             << "number " << i << " is " << found[i] << ", expected bitwise " << expected[i];
    }
  }
  return ::testing::AssertionSuccess();
}

inline bool is_bf16(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(),
                     [](float value) { return value == numeric::round_bf16(value); });
}

// Checks a kernel of `backend` against everything above.
template <typename Problem>
void expect_contract(const Problem& problem, const std::string& backend) {
  const auto run = [&](const Problem& operands, int num_threads) {
    runtime::Runtime& runtime = runtime_of(backend, num_threads);
    return operands.template run<float>(runtime.context().f32, runtime.pool());
  };
  const Result<float> found = run(problem, 1);
  EXPECT_TRUE(is_within_limits(problem, found));
  EXPECT_TRUE(found.is_padding_untouched);
  if (problem.rounding == Rounding::Bf16) {
    EXPECT_TRUE(is_bf16(found.values));
  }
  for (const int num_threads : {2, 3}) {
    EXPECT_TRUE(is_same(run(problem, num_threads).values, found.values))
        << num_threads << " threads";
  }
  for (const Index row : std::set<Index>{0, 1, found.rows / 2, found.rows - 1}) {
    if (row >= 0 && row < found.rows) {
      EXPECT_TRUE(is_same(run(problem.row(row), 1).values, found.row(row)))
          << "row " << row << " alone";
    }
  }
}

// Checks that the comparison goes red: `broken` is a kernel with one mistake.
template <typename Problem, typename Args>
void expect_notices(const Problem& problem,
                    ops::Kernel<Args> ops::KernelTable<float>::*entry,
                    typename ops::Kernel<Args>::Function broken) {
  ops::KernelTable<float> table = reference::kernels<float>();
  auto& pool = runtime_of("reference", 1).pool();
  EXPECT_TRUE(is_within_limits(problem, problem.template run<float>(table, pool)));
  table.*entry = {broken, "broken"};
  EXPECT_FALSE(is_within_limits(problem, problem.template run<float>(table, pool)));
}

// Backends under test: the cpu backend on every instruction set of this machine.
inline std::vector<std::string> contract_backends() {
  std::vector<std::string> names = {"reference"};
  for (const std::string& isa : runtime::available_isas()) {
    names.push_back("cpu:" + isa);
  }
  return names;
}

inline std::string identifier(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return text;
}

class OnEveryBackend : public ::testing::TestWithParam<std::string> {};

#define FATHOM_ON_EVERY_BACKEND(suite)                                                \
  INSTANTIATE_TEST_SUITE_P(Contract, suite, ::testing::ValuesIn(contract_backends()), \
                           [](const auto& item) { return identifier(item.param); })

}  // namespace fathom::testing
