// Losses that ops report to training terms, against central differences in double.
#pragma once

#include <functional>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/compute/autograd/tape.h"
#include "fathom/compute/ops/training_terms.h"
#include "fathom/compute/runtime/runtime.h"

namespace fathom::ops {

class TermsTest : public ::testing::Test {
 protected:
  // Computes from the operands, tells the terms as layer 0, and returns what is on the way to the
  // loss.
  using Step = std::function<tensor::Tensor(Context&, const std::vector<tensor::Tensor>&)>;

  struct Operand {
    tensor::Shape shape;
    std::vector<double> numbers;
  };

  Context& context() { return runtime_.context(); }

  std::size_t add(const tensor::Shape& shape, double deviation = 1) {
    std::normal_distribution<double> normal(0, deviation);
    std::vector<double> numbers(to_size(shape.num_elements()));
    std::generate(numbers.begin(), numbers.end(), [&] { return normal(engine_); });
    operands_.push_back({shape, numbers});
    return operands_.size() - 1;
  }
  std::vector<double>& numbers(std::size_t idx) { return operands_[idx].numbers; }

  std::vector<tensor::Tensor> make_operands() {
    std::vector<tensor::Tensor> tensors;
    for (const Operand& operand : operands_) {
      tensors.push_back(context().allocate(operand.shape));
      std::copy(operand.numbers.begin(), operand.numbers.end(), tensors.back().data<double>());
    }
    return tensors;
  }

  // What layer 0 comes to, forwards alone.
  TrainingTerms::LayerSums forward(TrainingTerms terms, const Step& step) {
    const tensor::Arena::Scope scope(context().arena);
    terms.is_forward_only = true;
    terms.layers.assign(1, {});
    context().training = &terms;
    step(context(), make_operands());
    context().training = nullptr;
    return terms.layers.front();
  }

  // What it comes to on the way back, and the gradients of all operands that the terms add.
  std::vector<std::vector<double>> backward(TrainingTerms& terms, const Step& step) {
    const tensor::Arena::Scope scope(context().arena);
    terms.layers.assign(1, {});
    const std::vector<tensor::Tensor> operands = make_operands();
    autograd::ParameterGradients parameters(context().real);
    autograd::Tape tape(context(), parameters);
    context().training = &terms;
    tape.of(step(context(), operands));  // reached, by a gradient of zero
    tape.run_backward();
    context().training = nullptr;
    std::vector<std::vector<double>> gradients;
    for (const tensor::Tensor& operand : operands) {
      const double* gradient = tape.of(operand).data<double>();
      gradients.emplace_back(gradient, gradient + operand.num_elements());
    }
    return gradients;
  }

  // Every number of the operands, one by one; fourth-order differences of factor * loss.
  void expect_slopes(std::size_t operand,
                     const std::vector<double>& found,
                     double factor,
                     const std::function<double()>& loss) {
    constexpr double kStep = 0x1p-10;
    double largest = 1e-3;
    std::vector<double> expected;
    for (double& number : numbers(operand)) {
      const double before = number;
      const auto at = [&](double steps) {
        number = before + steps * kStep;
        const double value = factor * loss();
        number = before;
        return value;
      };
      expected.push_back((8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * kStep));
      largest = std::max(largest, std::abs(expected.back()));
    }
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_TRUE(std::abs(found[i] - expected[i]) <= 1e-6 * largest)
          << "operand " << operand << " number " << i << ": " << found[i] << ", expected "
          << expected[i];
    }
  }

 private:
  runtime::Runtime runtime_{{.num_threads = 1, .backend = "reference:f64"}};
  std::mt19937 engine_{5};
  std::vector<Operand> operands_;
};

}  // namespace fathom::ops
