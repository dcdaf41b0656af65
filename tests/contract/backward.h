// What every backward kernel of every backend must keep: it adds what the reference adds in double,
// bitwise independent of the number of threads, is NaN where the reference is, and writes nothing
// but its gradients.
//
// A test describes operands as a Problem:
//   template <typename Real> Outputs<Real> run(const ops::TrainingKernels<Real>&, ThreadPool&,
//                                              int num_threads)
//   std::vector<double> limits()                 how far off each output's numbers may be
//   std::vector<std::vector<float>*> operands()  where a NaN may come from
#pragma once

#include <string>
#include <vector>

#include "tests/contract/contract.h"

namespace fathom::testing {

// The numbers of each output after another.
template <typename Real>
using Outputs = std::vector<std::vector<Real>>;

// The numbers of a matrix; fails when its padding was written.
template <typename Real>
std::vector<Real> numbers_of(Grid<Real>& grid) {
  EXPECT_TRUE(grid.is_padding_untouched());
  const tensor::MatrixView<Real> view = grid.view();
  std::vector<Real> numbers;
  for (Index row = 0; row < view.rows; ++row) {
    numbers.insert(numbers.end(), view.row(row), view.row(row) + view.columns);
  }
  return numbers;
}

// Rows in pages that may be changed.
template <typename Real>
class WritablePages {
 public:
  WritablePages(Index num_rows, Index width, const std::vector<float>& values)
      : num_rows_(num_rows), width_(width) {
    constexpr Index kRows = tensor::RowTable<Real>::kRowsPerPage;
    const Index num_pages = ceil_div(num_rows, kRows);
    values_.assign(to_size(num_pages * kRows * width), Real{0});
    std::transform(values.begin(), values.begin() + num_rows * width, values_.begin(),
                   [](float value) { return static_cast<Real>(value); });
    for (Index page = 0; page < num_pages; ++page) {
      pages_.push_back(values_.data() + page * kRows * width);
    }
  }
  tensor::WritableRowTable<Real> table() const { return {pages_.data(), num_rows_, width_}; }
  std::vector<Real> numbers() const {
    return {values_.begin(), values_.begin() + num_rows_ * width_};
  }

 private:
  Index num_rows_;
  Index width_;
  std::vector<Real> values_;
  std::vector<Real*> pages_;
};

template <typename Real>
std::vector<Real> as_real(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

template <typename Problem>
Outputs<float> run_on(const Problem& problem, const std::string& backend, int num_threads) {
  runtime::Runtime& runtime = runtime_of(backend, num_threads);
  return problem.template run<float>(runtime.context().f32.training, runtime.pool(), num_threads);
}

template <typename Problem>
Outputs<double> exact_outputs(const Problem& problem) {
  return problem.template run<double>(exact_kernels().training, runtime_of("reference", 1).pool(),
                                      1);
}

template <typename Problem>
::testing::AssertionResult are_within_limits(const Problem& problem, const Outputs<float>& found) {
  const Outputs<double> expected = exact_outputs(problem);
  const std::vector<double> limits = problem.limits();
  if (found.size() != expected.size() || limits.size() != expected.size()) {
    return ::testing::AssertionFailure() << found.size() << " outputs and " << limits.size()
                                         << " limits, expected " << expected.size();
  }
  for (std::size_t output = 0; output < expected.size(); ++output) {
    for (std::size_t i = 0; i < expected[output].size(); ++i) {
      const double error = std::abs(static_cast<double>(found[output].at(i)) - expected[output][i]);
      // Written as "not within", because every comparison with a NaN is false.
      if (!(error <= limits[output])) {
        return ::testing::AssertionFailure()
               << "output " << output << " number " << i << " is " << found[output][i]
               << ", expected " << expected[output][i] << " within " << limits[output];
      }
    }
  }
  return ::testing::AssertionSuccess();
}

template <typename Problem>
void expect_backward_contract(const Problem& problem, const std::string& backend) {
  const Outputs<float> found = run_on(problem, backend, 1);
  EXPECT_TRUE(are_within_limits(problem, found));
  for (const int num_threads : {2, 3}) {
    const Outputs<float> again = run_on(problem, backend, num_threads);
    for (std::size_t output = 0; output < found.size(); ++output) {
      EXPECT_TRUE(is_same(again.at(output), found[output]))
          << "output " << output << " with " << num_threads << " threads";
    }
  }
}

// One NaN in each operand in turn reaches the numbers that it reaches in the reference, and no
// other.
template <typename Problem>
void expect_same_nans(Problem problem, Random& random, const std::string& backend) {
  for (std::vector<float>* operand : problem.operands()) {
    if (operand->empty()) {
      continue;
    }
    float& number = (*operand)[to_size(random.index(0, to_index(operand->size()) - 1))];
    const float before = std::exchange(number, std::numeric_limits<float>::quiet_NaN());
    const Outputs<float> found = run_on(problem, backend, 2);
    const Outputs<double> expected = exact_outputs(problem);
    for (std::size_t output = 0; output < expected.size(); ++output) {
      for (std::size_t i = 0; i < expected[output].size(); ++i) {
        ASSERT_EQ(std::isnan(found[output].at(i)), std::isnan(expected[output][i]))
            << "NaN in an operand"
            << ", output " << output << " number " << i << " is " << found[output][i]
            << ", expected " << expected[output][i];
      }
    }
    number = before;
  }
}

// Checks that the comparison goes red: `broken` is a kernel with one mistake.
template <typename Problem, typename Args>
void expect_backward_notices(const Problem& problem,
                             ops::Kernel<Args> ops::TrainingKernels<float>::*entry,
                             typename ops::Kernel<Args>::Function broken) {
  ops::TrainingKernels<float> table = reference::kernels<float>().training;
  auto& pool = runtime_of("reference", 1).pool();
  EXPECT_TRUE(are_within_limits(problem, problem.template run<float>(table, pool, 1)));
  table.*entry = {broken, "broken"};
  EXPECT_FALSE(are_within_limits(problem, problem.template run<float>(table, pool, 1)));
}

}  // namespace fathom::testing
