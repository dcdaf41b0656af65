// Gradients against central differences in double.
//
// A check declares operands, a step that computes with them, and compares the gradient of
// sum_i c[i] out[i], with random c, by every number of every operand with the fourth-order central
// difference of that sum. Numbers of parameters are fp32, so they are multiples of 2^-13: adding
// the difference to them is exact.
#pragma once

#include <cmath>
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
  Index between(Index least, Index most) {
    return std::uniform_int_distribution<Index>(least, most)(engine_);
  }
  double normal(double deviation = 1) {
    return std::normal_distribution<double>(0, deviation)(engine_);
  }

  // Operands: values in step memory, refilled before every run of the step.
  struct Value {
    std::string name;
    tensor::Shape shape;
    std::vector<double> numbers;
    tensor::Tensor tensor;
  };
  std::size_t add_value(const std::string& name, const tensor::Shape& shape, double deviation = 1) {
    std::vector<double> numbers(to_size(shape.num_elements()));
    for (double& number : numbers) {
      number = normal(deviation);
    }
    values_.push_back({name, shape, numbers, {}});
    return values_.size() - 1;
  }
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
                           bool is_trained = true) {
    auto parameter = std::make_unique<Parameter>(Parameter{name, rows, columns, {}});
    for (Index i = 0; i < rows * columns; ++i) {
      parameter->numbers.push_back(
          static_cast<float>(std::round(normal(deviation) / kGrain) * kGrain));
    }
    parameters_.push_back(std::move(parameter));
    if (is_trained) {
      trained_.push_back(parameters_.back().get());
    }
    return *parameters_.back();
  }
  static numeric::WeightView view(const Parameter& parameter) {
    numeric::WeightView view;
    view.rows = parameter.rows;
    view.columns = parameter.columns;
    view.data = reinterpret_cast<const std::byte*>(parameter.numbers.data());
    view.row_stride_bytes = parameter.columns * to_index(sizeof(float));
    return view;
  }

  // The step: computes from value(idx) and parameters, returns its results.
  using Step = std::function<std::vector<tensor::Tensor>(ops::Context&)>;

  ::testing::AssertionResult check(
      const Step& step, autograd::Recomputation recomputation = autograd::Recomputation::Segments) {
    coefficients_.clear();
    const std::vector<std::vector<double>> found = gradients_of(step, recomputation);
    std::size_t operand = 0;
    for (Value& each : values_) {
      const auto result = compare(each.name, each.numbers, found[operand++], step);
      if (!result) {
        return result;
      }
    }
    for (Parameter* each : trained_) {
      const auto result = compare(each->name, each->numbers, found[operand++], step);
      if (!result) {
        return result;
      }
    }
    return ::testing::AssertionSuccess() << "largest relative error " << worst_;
  }

 private:
  void refill() {
    for (Value& each : values_) {
      each.tensor = context().allocate(each.shape);
      std::copy(each.numbers.begin(), each.numbers.end(), each.tensor.data<double>());
    }
  }

  double coefficient(std::size_t idx) {
    while (coefficients_.size() <= idx) {
      coefficients_.push_back(normal());
    }
    return coefficients_[idx];
  }

  double sum_of(const Step& step) {
    const tensor::Arena::Scope scope(context().arena);
    refill();
    double sum = 0;
    std::size_t idx = 0;
    for (const tensor::Tensor& out : step(context())) {
      for (Index i = 0; i < out.num_elements(); ++i) {
        sum += coefficient(idx++) * out.data<double>()[i];
      }
    }
    return sum;
  }

  std::vector<std::vector<double>> gradients_of(const Step& step,
                                                autograd::Recomputation recomputation) {
    const tensor::Arena::Scope scope(context().arena);
    refill();
    autograd::ParameterGradients parameters(tensor::DType::F64);
    for (const Parameter* each : trained_) {
      parameters.add(each->numbers.data(), each->rows, each->columns);
    }
    autograd::Tape tape(context(), parameters, recomputation);
    std::size_t idx = 0;
    for (const tensor::Tensor& out : step(context())) {
      const tensor::Tensor d_out = tape.of(out);
      for (Index i = 0; i < out.num_elements(); ++i) {
        d_out.data<double>()[i] += coefficient(idx++);
      }
    }
    tape.run_backward();
    std::vector<std::vector<double>> found;
    for (const Value& each : values_) {
      const tensor::Tensor gradient = tape.of(each.tensor);
      found.emplace_back(gradient.data<double>(),
                         gradient.data<double>() + gradient.num_elements());
    }
    for (const Parameter* each : trained_) {
      const tensor::Tensor gradient = parameters.at(each->numbers.data());
      found.emplace_back(gradient.data<double>(),
                         gradient.data<double>() + gradient.num_elements());
    }
    return found;
  }

  template <typename Number>
  ::testing::AssertionResult compare(const std::string& name,
                                     std::vector<Number>& numbers,
                                     const std::vector<double>& found,
                                     const Step& step) {
    std::vector<double> expected;
    double largest = 0;
    for (Number& number : numbers) {
      const Number before = number;
      const auto sum_at = [&](double steps) {
        number = static_cast<Number>(static_cast<double>(before) + steps * kStep);
        const double sum = sum_of(step);
        number = before;
        return sum;
      };
      const double difference =
          (8 * (sum_at(1) - sum_at(-1)) - (sum_at(2) - sum_at(-2))) / (12 * kStep);
      expected.push_back(difference);
      largest = std::max(largest, std::abs(difference));
    }
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double error = std::abs(found[i] - expected[i]);
      // Written as "not within", because every comparison with a NaN is false.
      if (!(error <= kLimit * std::max(largest, 1e-3))) {
        return ::testing::AssertionFailure()
               << "gradient of " << name << " number " << i << " is " << found[i] << ", expected "
               << expected[i] << " (largest " << largest << ")";
      }
      worst_ = std::max(worst_, error / std::max(largest, 1e-3));
    }
    return ::testing::AssertionSuccess();
  }

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
  RowsOf(tensor::Arena& arena, const tensor::Tensor& rows) : rows_(rows) {
    constexpr Index kRows = tensor::RowTable<float>::kRowsPerPage;
    pages_ = arena.allocate_array<const void*>(ceil_div(rows.dim(0), kRows));
    for (std::size_t page = 0; page < pages_.size(); ++page) {
      pages_[page] = static_cast<const std::byte*>(rows.raw()) +
                     to_index(page) * kRows * rows.dim(1) * tensor::element_bytes(rows.dtype());
    }
  }
  tensor::PagedRows view() const {
    return {.dtype = rows_.dtype(),
            .pages = pages_.data(),
            .num_rows = rows_.dim(0),
            .width = rows_.dim(1)};
  }

 private:
  tensor::Tensor rows_;
  std::span<const void*> pages_;
};

}  // namespace fathom::testing
