#include "fathom/model/layers/weight.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::layers {
namespace {

using numeric::WeightFormat;

// FP4 [3, 64] with two scales a row, all 1 but those a test changes.
struct Fp4Matrix {
  std::vector<std::byte> codes = std::vector<std::byte>(3 * 32);
  std::vector<std::byte> scales = std::vector<std::byte>(6, std::byte{127});

  Weight weight() const {
    numeric::WeightView view;
    view.format = WeightFormat::Fp4;
    view.rows = 3;
    view.columns = 64;
    view.data = codes.data();
    view.row_stride_bytes = 32;
    view.scale_format = numeric::ScaleFormat::E8M0;
    view.scales = scales.data();
    view.scale_row_stride_bytes = 2;
    return Weight({"layers.3.ffn.experts.5.w2.weight", view});
  }
};

TEST(Weight, NanScaleIsNamedAtTheFirstUseAndNotBefore) {
  Fp4Matrix matrix;
  matrix.scales[3] = std::byte{255};
  const Weight weight = matrix.weight();
  EXPECT_EQ(weight.name(), "layers.3.ffn.experts.5.w2.weight");
  for (int use = 0; use < 2; ++use) {
    EXPECT_TRUE(testing::fails_with(
        ErrorCode::InvalidCheckpoint,
        "layers.3.ffn.experts.5.w2.weight: the scale of row 1, block 1 is not a number",
        [&] { weight.view(); }));
  }
}

TEST(Weight, GoodScalesAreReadOnce) {
  Fp4Matrix matrix;
  const Weight weight = matrix.weight();
  EXPECT_EQ(weight.view().rows, 3);
  // Not a feature, but the proof that later uses cost nothing.
  matrix.scales[0] = std::byte{255};
  EXPECT_EQ(weight.view().rows, 3);
}

TEST(Weight, OnlyFp8AndFp4ProductsRoundTheirInput) {
  for (int i = 0; i <= static_cast<int>(WeightFormat::IQ4_XS); ++i) {
    numeric::WeightView view;
    view.format = static_cast<WeightFormat>(i);
    const bool is_rounded = view.format == WeightFormat::Fp8 || view.format == WeightFormat::Fp4 ||
                            view.format == WeightFormat::Mxfp4;
    EXPECT_EQ(Weight({"w", view}).rounds_its_input(), is_rounded)
        << numeric::to_string(view.format);
  }
}

}  // namespace
}  // namespace fathom::layers
