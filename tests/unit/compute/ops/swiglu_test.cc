#include "fathom/compute/ops/swiglu.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

double silu(double x) {
  return x / (1 + std::exp(-x));
}

class Swiglu : public OpTest {
 protected:
  std::vector<float> run(const std::vector<float>& gate,
                         const std::vector<float>& up,
                         double limit) {
    const auto x = make({1, to_index(gate.size())}, gate);
    swiglu(context(), x, make({1, to_index(up.size())}, up), {}, limit);
    return numbers(x);
  }
};

TEST_F(Swiglu, GateIsClampedFromAboveOnly) {
  EXPECT_TRUE(testing::all_within(run({-1000, 1000, 10, -5}, {1, 1, 1, 1}, 10),
                                  std::vector<double>{0, silu(10), silu(10), silu(-5)}, 1e-5));
  EXPECT_NEAR(static_cast<double>(run({-0.75F}, {0.25F}, 0.5)[0]), 0.25 * silu(-0.75), 1e-6);
}

TEST_F(Swiglu, UpIsClampedOnBothSides) {
  EXPECT_TRUE(testing::all_within(run({10, 10, 10}, {1000, -1000, 9}, 10),
                                  std::vector<double>{10 * silu(10), -10 * silu(10), 9 * silu(10)},
                                  1e-4));
}

TEST_F(Swiglu, WeightOfARowMultipliesBeforeRounding) {
  use(kOfficial);
  const auto gate = make({2, 1}, {1, 1});
  swiglu(context(), gate, make({2, 1}, {3, 3}), make({2}, {0.3F, 1}), 10);
  EXPECT_EQ(numbers(gate)[0], numeric::round_bf16(static_cast<float>(silu(1) * 3 * 0.3)));
  EXPECT_EQ(numbers(gate)[1], numeric::round_bf16(static_cast<float>(silu(1) * 3)));
}

TEST_F(Swiglu, WrongNumberOfWeightsIsNamed) {
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "weights is 3, expected 2", [&] {
    swiglu(context(), make({2, 1}, {1, 1}), make({2, 1}, {1, 1}), make({3}, {1, 1, 1}), 10);
  }));
}

TEST(SwigluGradient, MeetsCentralDifferencesOnBothSidesOfTheClamps) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    testing::GradientCheck check(seed);
    const tensor::Shape shape = {check.between(1, 4), check.between(1, 12)};
    const auto gate = check.add_value("gate", shape, 2);
    const auto up = check.add_value("up", shape, 2);
    const auto weight = check.add_value("weight", {shape[0]});
    const double limit = seed % 3 == 0 ? std::numeric_limits<double>::infinity() : 1.5;
    // Away from the kinks, where the two-sided difference is no derivative.
    for (const auto operand : {gate, up}) {
      for (double& number : check.numbers(operand)) {
        if (std::abs(std::abs(number) - limit) < 0.01) {
          number += 0.02;
        }
      }
    }
    EXPECT_TRUE(check.check([&](Context& context) {
      swiglu(context, check.value(gate), check.value(up),
             seed % 2 == 0 ? check.value(weight) : tensor::Tensor(), limit);
      return std::vector{check.value(gate)};
    })) << "seed "
        << seed;
  }
}

TEST(SwigluGradient, PassesANumberThatIsExactlyTheLimit) {
  testing::GradientCheck check(0);
  Context& context = check.context();
  const auto one = [&](double number) {
    const tensor::Tensor tensor = context.allocate({1, 1});
    *tensor.data<double>() = number;
    return tensor;
  };
  const tensor::Tensor gate = one(2);
  const tensor::Tensor up = one(-2);
  autograd::ParameterGradients parameters(tensor::DType::F64);
  autograd::Tape tape(context, parameters);
  swiglu(context, gate, up, {}, 2);
  *tape.of(gate).data<double>() = 1;
  tape.run_backward();
  EXPECT_NE(*tape.of(gate).data<double>(), 0);
  EXPECT_NE(*tape.of(up).data<double>(), 0);
}

}  // namespace
}  // namespace fathom::ops
