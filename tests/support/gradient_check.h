// Gradients against central differences in double.
//
// A check declares operands, a step that computes with them, and compares the gradient of
// sum_i c[i] out[i], with random c, by every number of every operand with the fourth-order central
// difference of that sum. Numbers of parameters are fp32, so they are multiples of 2^-13: adding
// the difference to them is exact.
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/compute/autograd/tape.h"
#include "fathom/compute/numeric/small_floats.h"
#include "fathom/compute/runtime/runtime.h"

namespace fathom::testing {

class GradientCheck {
 public:
  static constexpr double kLimit = 1e-6;     // relative, of the largest gradient of an operand
  static constexpr double kStep = 0x1p-10;   // of the differences
  static constexpr double kGrain = 0x1p-13;  // parameters are multiples of it

  explicit GradientCheck(std::uint64_t seed) : engine_(seed) {}

  ops::Context& context() { return runtime_.context(); }
  Index between(Index least, Index most);
  double normal(double deviation = 1);

  // Operands: values in step memory, refilled before every run of the step.
  struct Value {
    std::string name;
    tensor::Shape shape;
    std::vector<double> numbers;
    tensor::Tensor tensor;
  };
  std::size_t add_value(const std::string& name, const tensor::Shape& shape, double deviation = 1);
  tensor::Tensor value(std::size_t idx) const { return values_[idx].tensor; }
  std::vector<double>& numbers(std::size_t idx) { return values_[idx].numbers; }

  // Operands: parameters in fp32, a vector or a matrix [rows, columns].
  struct Parameter {
    std::string name;
    Index rows;
    Index columns;
    std::vector<float> numbers;
  };
  Parameter& add_parameter(const std::string& name,
                           Index rows,
                           Index columns,
                           double deviation = 1,
                           bool is_trained = true);
  static numeric::WeightView view(const Parameter& parameter);

  // The step: computes from value(idx) and parameters, returns its results.
  using Step = std::function<std::vector<tensor::Tensor>(ops::Context&)>;

  ::testing::AssertionResult check(
      const Step& step, autograd::Recomputation recomputation = autograd::Recomputation::Segments);

 private:
  void refill();
  double coefficient(std::size_t idx);
  double sum_of(const Step& step);
  std::vector<std::vector<double>> gradients_of(const Step& step,
                                                autograd::Recomputation recomputation);
  template <typename Number>
  ::testing::AssertionResult compare(const std::string& name,
                                     std::vector<Number>& numbers,
                                     const std::vector<double>& found,
                                     const Step& step);

  runtime::Runtime runtime_{{.num_threads = 1, .backend = "reference:f64"}};
  std::mt19937_64 engine_;
  std::vector<Value> values_;
  std::vector<std::unique_ptr<Parameter>> parameters_;
  std::vector<Parameter*> trained_;
  std::vector<double> coefficients_;
  double worst_ = 0;
};

// Rows of a tensor [S, width] in pages that lie where the rows lie.
class RowsOf {
 public:
  RowsOf(tensor::Arena& arena, const tensor::Tensor& rows);
  tensor::PagedRows view() const;

 private:
  tensor::Tensor rows_;
  std::span<const void*> pages_;
};

}  // namespace fathom::testing
