#include "fathom/compute/numeric/weight_panels.h"

#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::numeric {
namespace {

constexpr WeightFormat kFormats[] = {
    WeightFormat::Fp4,  WeightFormat::Mxfp4,  WeightFormat::Q4_0,
    WeightFormat::Q4_1, WeightFormat::Q5_0,   WeightFormat::Q5_1,
    WeightFormat::Q8_0, WeightFormat::IQ4_NL, WeightFormat::Fp8,
};

// Rows of random bytes, in which F16 numbers are finite.
class Matrix {
 public:
  Matrix(WeightFormat format, Index rows, Index columns)
      : bytes_(to_size(rows * row_bytes(format, columns))), scales_(to_size(rows * columns / 32)) {
    std::mt19937 random(5);
    for (std::byte& byte : bytes_) {
      byte = static_cast<std::byte>(random() & 0xbbU);
    }
    for (std::byte& scale : scales_) {
      scale = static_cast<std::byte>(random() % 255);
    }
    view.format = format;
    view.rows = rows;
    view.columns = columns;
    view.data = bytes_.data();
    view.row_stride_bytes = row_bytes(format, columns);
    if (format == WeightFormat::Fp4) {
      view.scale_format = ScaleFormat::E8M0;
      view.scales = scales_.data();
      view.scale_row_stride_bytes = columns / 32;
    }
    if (format == WeightFormat::Fp8) {
      view.scale_format = ScaleFormat::E8M0;
      view.scales = scales_.data();
      view.scale_row_stride_bytes = ceil_div(columns, kFp8TileColumns);
    }
  }
  WeightView view;

 private:
  std::vector<std::byte> bytes_;
  std::vector<std::byte> scales_;
};

TEST(WeightPanels, HoldTheNumbersOfTheRows) {
  constexpr Index kRows = 37;
  constexpr Index kColumns = 160;
  for (const WeightFormat format : kFormats) {
    SCOPED_TRACE(to_string(format));
    const Matrix matrix(format, kRows, kColumns);
    ASSERT_TRUE(can_be_in_panels(matrix.view));
    std::vector<std::byte> bytes(to_size(bytes_in_panels(matrix.view)), std::byte{0xff});
    pack_panels(matrix.view, 1, 2, bytes.data());
    pack_panels(matrix.view, 0, 1, bytes.data());
    const WeightView panels = view_of_panels(matrix.view, bytes.data());
    EXPECT_FALSE(can_be_in_panels(panels));
    for (Index row = 0; row < kRows; ++row) {
      float expected[kColumns];
      float found[kColumns];
      decode_row(matrix.view, row, 0, kColumns, expected);
      decode_row(panels, row, 0, kColumns, found);
      for (Index i = 0; i < kColumns; ++i) {
        ASSERT_EQ(found[i], expected[i]) << "row " << row << ", column " << i;
      }
      decode_row(panels.slice_rows(row / 16 * 16, 1 + row % 16), row % 16, 64, 32, found);
      ASSERT_EQ(found[5], expected[69]);
    }
  }
}

// A slice of FP8 keeps its place in the tiles of scales.
TEST(WeightPanels, OfASliceOfFp8KeepItsScales) {
  constexpr Index kColumns = 288;
  const Matrix matrix(WeightFormat::Fp8, 200, kColumns);
  EXPECT_FALSE(can_be_in_panels(matrix.view.slice_rows(8, 100)));
  const WeightView rows = matrix.view.slice_rows(112, 40);
  ASSERT_TRUE(can_be_in_panels(rows));
  std::vector<std::byte> bytes(to_size(bytes_in_panels(rows)));
  pack_panels(rows, 0, 3, bytes.data());
  const WeightView panels = view_of_panels(rows, bytes.data());
  for (Index row = 0; row < 40; ++row) {
    float expected[kColumns];
    float found[kColumns];
    decode_row(rows, row, 0, kColumns, expected);
    decode_row(panels, row, 0, kColumns, found);
    EXPECT_TRUE(std::equal(expected, expected + kColumns, found)) << "row " << row;
    decode_row(panels.slice_rows(row / 16 * 16, 1 + row % 16), row % 16, 100, 188, found);
    EXPECT_TRUE(std::equal(expected + 100, expected + kColumns, found)) << "row " << row;
  }
}

TEST(WeightPanels, PartOfAPanelIsWhatTheWholePanelHoldsThere) {
  const Matrix matrix(WeightFormat::Q4_1, 16, 128);
  const PanelBlock shape = panel_block(WeightFormat::Q4_1);
  std::vector<std::uint8_t> whole(to_size(panel_bytes(WeightFormat::Q4_1, 128)));
  std::vector<std::uint8_t> part(to_size(2 * shape.bytes()));
  pack_panel(matrix.view, 0, 0, 4, whole.data());
  pack_panel(matrix.view, 0, 1, 2, part.data());
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + shape.bytes()));
}

TEST(WeightPanels, RowsBehindTheLastAreZero) {
  const Matrix matrix(WeightFormat::Q8_0, 3, 32);
  const PanelBlock shape = panel_block(WeightFormat::Q8_0);
  std::vector<std::uint8_t> panel(to_size(panel_bytes(WeightFormat::Q8_0, 32)), 0xff);
  pack_panel(matrix.view, 0, 0, 1, panel.data());
  const std::uint8_t* codes = panel.data() + shape.codes_at();
  for (Index row = 3; row < kPanelRows; ++row) {
    EXPECT_EQ(codes[row * kPanelStepColumns], 0);
    EXPECT_EQ(panel_scale(WeightFormat::Q8_0, panel.data(), row), 0.0F);
  }
}

TEST(WeightPanels, TakeNoMoreMemoryThanWholeGroupsOfRowsButForFiveBits) {
  for (const WeightFormat format : kFormats) {
    const Matrix matrix(format, 32, 256);
    const Index rows = 32 * (row_bytes(format, 256) + (format == WeightFormat::Fp4 ? 8 : 0));
    EXPECT_EQ(bytes_in_panels(matrix.view) == rows, are_panels_as_small(format))
        << to_string(format);
  }
}

}  // namespace
}  // namespace fathom::numeric
