#include "fathom/compute/ops/round_trip.h"

#include <gtest/gtest.h>

#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

class RoundTrip : public OpTest {
 protected:
  std::vector<float> round(const std::vector<float>& values,
                           Index width,
                           Index group,
                           RoundTripFormat format) {
    const auto x = make({to_index(values.size()) / width, width}, values);
    round_trip(context(), x, width, width, group, format);
    return numbers(x);
  }
};

TEST_F(RoundTrip, GoldenFp8AndFp4BitForBit) {
  EXPECT_EQ(round(golden_bf16("act_quant.in"), 256, 64, RoundTripFormat::E4m3),
            golden_bf16("act_quant.inplace64"));
  EXPECT_EQ(round(golden_bf16("act_quant.in"), 256, 128, RoundTripFormat::E4m3),
            golden_bf16("act_quant.inplace128"));
  EXPECT_EQ(round(golden_bf16("fp4_act_quant.in"), 128, 32, RoundTripFormat::E2m1),
            golden_bf16("fp4_act_quant.inplace32"));
}

TEST_F(RoundTrip, TheSpecificationsExamples) {
  EXPECT_EQ(round({3, 0.3F}, 2, 64, RoundTripFormat::E4m3), (std::vector<float>{3, 0.3125F}));
  EXPECT_EQ(round({5, 2.5F, 3.5F, 0.75F, 1.25F, 0.25F, 1.75F, -5}, 8, 32, RoundTripFormat::E2m1),
            (std::vector<float>{4, 2, 4, 1, 1, 0, 2, -4}));
}

TEST_F(RoundTrip, TwiceIsOnce) {
  for (const auto format : {RoundTripFormat::E4m3, RoundTripFormat::E2m1}) {
    const auto once = round(random(512, 3), 128, 32, format);
    EXPECT_EQ(round(once, 128, 32, format), once);
  }
}

TEST_F(RoundTrip, ColumnsBehindTheGivenOnesStay) {
  const auto values = random(12);
  const auto x = make({2, 6}, values);
  round_trip(context(), x, 6, 4, 64, RoundTripFormat::E2m1);
  for (const std::size_t i : {4U, 5U, 10U, 11U}) {
    EXPECT_EQ(numbers(x)[i], values[i]);
  }
  EXPECT_NE(numbers(x)[0], values[0]);
}

TEST_F(RoundTrip, ZerosStayZero) {
  EXPECT_EQ(round(std::vector<float>(64), 64, 32, RoundTripFormat::E4m3), std::vector<float>(64));
  EXPECT_EQ(round(std::vector<float>(64), 64, 32, RoundTripFormat::E2m1), std::vector<float>(64));
}

TEST(RoundTripGradient, PassesStraightThrough) {
  testing::GradientCheck check(2);
  Context& context = check.context();
  const tensor::Tensor x = context.allocate({2, 8});
  for (Index i = 0; i < 16; ++i) {
    x.data<double>()[i] = 0.37 * static_cast<double>(i);
  }
  autograd::ParameterGradients parameters(tensor::DType::F64);
  autograd::Tape tape(context, parameters);
  round_trip(context, x, 8, 6, 3, RoundTripFormat::E2m1);
  for (Index i = 0; i < 16; ++i) {
    tape.of(x).data<double>()[i] = static_cast<double>(i);
  }
  tape.run_backward();
  for (Index i = 0; i < 16; ++i) {
    EXPECT_EQ(tape.of(x).data<double>()[i], static_cast<double>(i));
    EXPECT_EQ(x.data<double>()[i], 0.37 * static_cast<double>(i));  // as it was before the op
  }
}

TEST_F(RoundTrip, IntoAnotherTensorGivesTheSameNumbersAndLeavesTheFirst) {
  const auto values = random(4 * 40);
  const auto x = make({4, 40}, values);
  const auto out = rounded_trip(context(), x, 32, RoundTripFormat::E4m3);
  EXPECT_EQ(out.shape(), x.shape());
  EXPECT_EQ(numbers(out), round(values, 40, 32, RoundTripFormat::E4m3));
  EXPECT_EQ(numbers(x), values);
}

TEST(RoundTripGradient, OfAnotherTensorIsAddedToThatOfTheFirst) {
  testing::GradientCheck check(2);
  Context& context = check.context();
  const tensor::Tensor x = context.allocate({2, 8});
  std::fill_n(x.data<double>(), 16, 0.37);
  autograd::ParameterGradients parameters(tensor::DType::F64);
  autograd::Tape tape(context, parameters);
  const tensor::Tensor out = rounded_trip(context, x, 3, RoundTripFormat::E2m1);
  for (Index i = 0; i < 16; ++i) {
    tape.of(x).data<double>()[i] = 100;
    tape.of(out).data<double>()[i] = static_cast<double>(i);
  }
  tape.run_backward();
  for (Index i = 0; i < 16; ++i) {
    EXPECT_EQ(tape.of(x).data<double>()[i], 100 + static_cast<double>(i));
  }
}

}  // namespace
}  // namespace fathom::ops
