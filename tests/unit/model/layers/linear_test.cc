#include "fathom/model/layers/linear.h"

#include <gtest/gtest.h>

#include "fathom/compute/runtime/runtime.h"

namespace fathom::layers {
namespace {

class RoundedInput : public ::testing::Test {
 protected:
  tensor::Tensor input() {
    const tensor::Tensor x = runtime_.context().allocate({2, 192});
    for (Index i = 0; i < 384; ++i) {
      x.data<float>()[i] = 0.3F;
    }
    x.data<float>()[0] = 3;  // widens the first group of 128 of the first row
    return x;
  }
  static Weight weight(numeric::WeightFormat format) {
    numeric::WeightView view;
    view.format = format;
    return Weight({"w", view});
  }
  runtime::Runtime runtime_{{.num_threads = 1, .numerics = ops::Numerics::Official}};
};

TEST_F(RoundedInput, OfficialProductsWithFp8WeightsSeeGroupsOf128InFp8) {
  const tensor::Tensor x = input();
  const tensor::Tensor rounded =
      rounded_input(runtime_.context(), weight(numeric::WeightFormat::Fp8), x).x();
  const float* row = rounded.data<float>();
  EXPECT_EQ(row[0], 3);
  EXPECT_EQ(row[127], 0.3125F);  // specification 8
  EXPECT_EQ(row[191], 0.3125F);
  EXPECT_EQ(x.data<float>()[127], 0.3F);
}

TEST_F(RoundedInput, OtherWeightsAndHighNumericsSeeTheInputItself) {
  const tensor::Tensor x = input();
  EXPECT_EQ(rounded_input(runtime_.context(), weight(numeric::WeightFormat::BF16), x).x().raw(),
            x.raw());
  runtime_.context().numerics = ops::Numerics::High;
  EXPECT_EQ(rounded_input(runtime_.context(), weight(numeric::WeightFormat::Fp8), x).x().raw(),
            x.raw());
}

}  // namespace
}  // namespace fathom::layers
