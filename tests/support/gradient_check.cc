#include "tests/support/gradient_check.h"

#include <algorithm>
#include <cmath>

namespace fathom::testing {

template <typename Number>
::testing::AssertionResult GradientCheck::compare(const std::string& name,
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

Index GradientCheck::between(Index least, Index most) {
  return std::uniform_int_distribution<Index>(least, most)(engine_);
}

double GradientCheck::normal(double deviation) {
  return std::normal_distribution<double>(0, deviation)(engine_);
}

std::size_t GradientCheck::add_value(const std::string& name,
                                     const tensor::Shape& shape,
                                     double deviation) {
  std::vector<double> numbers(to_size(shape.num_elements()));
  for (double& number : numbers) {
    number = normal(deviation);
  }
  values_.push_back({name, shape, numbers, {}});
  return values_.size() - 1;
}

GradientCheck::Parameter& GradientCheck::add_parameter(
    const std::string& name, Index rows, Index columns, double deviation, bool is_trained) {
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

numeric::WeightView GradientCheck::view(const Parameter& parameter) {
  numeric::WeightView view;
  view.rows = parameter.rows;
  view.columns = parameter.columns;
  view.data = reinterpret_cast<const std::byte*>(parameter.numbers.data());
  view.row_stride_bytes = parameter.columns * to_index(sizeof(float));
  return view;
}

::testing::AssertionResult GradientCheck::check(const Step& step,
                                                autograd::Recomputation recomputation) {
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

void GradientCheck::refill() {
  for (Value& each : values_) {
    each.tensor = context().allocate(each.shape);
    std::copy(each.numbers.begin(), each.numbers.end(), each.tensor.data<double>());
  }
}

double GradientCheck::coefficient(std::size_t idx) {
  while (coefficients_.size() <= idx) {
    coefficients_.push_back(normal());
  }
  return coefficients_[idx];
}

double GradientCheck::sum_of(const Step& step) {
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

std::vector<std::vector<double>> GradientCheck::gradients_of(
    const Step& step, autograd::Recomputation recomputation) {
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
    found.emplace_back(gradient.data<double>(), gradient.data<double>() + gradient.num_elements());
  }
  for (const Parameter* each : trained_) {
    const tensor::Tensor gradient = parameters.at(each->numbers.data());
    found.emplace_back(gradient.data<double>(), gradient.data<double>() + gradient.num_elements());
  }
  return found;
}

RowsOf::RowsOf(tensor::Arena& arena, const tensor::Tensor& rows) : rows_(rows) {
  constexpr Index kRows = tensor::RowTable<float>::kRowsPerPage;
  pages_ = arena.allocate_array<const void*>(ceil_div(rows.dim(0), kRows));
  for (std::size_t page = 0; page < pages_.size(); ++page) {
    pages_[page] = static_cast<const std::byte*>(rows.raw()) +
                   to_index(page) * kRows * rows.dim(1) * tensor::element_bytes(rows.dtype());
  }
}

tensor::PagedRows RowsOf::view() const {
  return {.dtype = rows_.dtype(),
          .pages = pages_.data(),
          .num_rows = rows_.dim(0),
          .width = rows_.dim(1)};
}

}  // namespace fathom::testing
