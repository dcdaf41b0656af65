#include "fathom/compute/numeric/weight_format.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/compute/numeric/ggml_blocks.h"
#include "fathom/compute/numeric/small_floats.h"

#include "tests/support/tensor_file.h"

namespace fathom::numeric {
namespace {

std::vector<WeightFormat> all_formats() {
  std::vector<WeightFormat> formats;
  for (int i = 0; i <= static_cast<int>(WeightFormat::IQ4_XS); ++i) {
    formats.push_back(static_cast<WeightFormat>(i));
  }
  return formats;
}

std::vector<WeightFormat> block_formats() {
  std::vector<WeightFormat> formats;
  for (const WeightFormat format : all_formats()) {
    if (block_decoder(format) != nullptr) {
      formats.push_back(format);
    }
  }
  return formats;
}

// Blocks and their values by PyPI gguf. The oracle passes fresh ones in FATHOM_GGML_BLOCKS.
std::string blocks_path() {
  const char* path = std::getenv("FATHOM_GGML_BLOCKS");
  return path != nullptr ? path : FATHOM_SOURCE_DIR "/tests/data/ggml_blocks.safetensors";
}

std::vector<std::byte> random_bytes(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random());
  }
  return bytes;
}

WeightView view_of(WeightFormat format, Index rows, Index columns, const std::byte* data) {
  WeightView view;
  view.format = format;
  view.rows = rows;
  view.columns = columns;
  view.data = data;
  view.row_stride_bytes = row_bytes(format, columns);
  return view;
}

TEST(WeightFormat, NamesAreDistinctAndFindTheirFormat) {
  std::set<std::string_view> names;
  for (const WeightFormat format : all_formats()) {
    EXPECT_EQ(info(format).format, format);
    EXPECT_EQ(weight_format_from_name(to_string(format)), format);
    EXPECT_TRUE(names.insert(to_string(format)).second);
  }
  EXPECT_EQ(weight_format_from_name("Q4_K_M"), std::nullopt);
}

TEST(WeightFormat, RowBytesAreWholeBlocks) {
  EXPECT_EQ(row_bytes(WeightFormat::Q4_K, 4096), 4096 / 256 * 144);
  EXPECT_EQ(row_bytes(WeightFormat::Fp4, 4096), 2048);
  EXPECT_EQ(row_bytes(WeightFormat::Fp8, 7), 7);
  EXPECT_EQ(row_bytes(WeightFormat::BF16, 3), 6);
}

class GgmlBlocks : public ::testing::TestWithParam<WeightFormat> {};

TEST_P(GgmlBlocks, DecodeBitForBitAsPyPiGgufDoes) {
  const testing::TensorFile file(blocks_path());
  const std::string name(to_string(GetParam()));
  const auto bytes = file.read<std::byte>(name + ".blocks");
  const auto expected = file.read<float>(name + ".values");
  const Index columns = info(GetParam()).block_columns;
  const Index num_blocks = file.entry(name + ".blocks").shape[0];
  ASSERT_GE(num_blocks, 8);
  ASSERT_EQ(to_index(bytes.size()), num_blocks * info(GetParam()).block_bytes);
  ASSERT_EQ(to_index(expected.size()), num_blocks * columns);
  const WeightView view = view_of(GetParam(), 1, num_blocks * columns, bytes.data());
  std::vector<float> values(expected.size());
  decode_row(view, 0, 0, view.columns, values.data());
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(values[i]), std::bit_cast<std::uint32_t>(expected[i]))
        << name << " block " << to_index(i) / columns << " column " << to_index(i) % columns << ": "
        << values[i] << ", expected " << expected[i];
  }
}

TEST_P(GgmlBlocks, DecodeTheSameFromAnOddAddressByPartsAndInDouble) {
  const testing::TensorFile file(blocks_path());
  auto bytes = file.read<std::byte>(std::string(to_string(GetParam())) + ".blocks");
  const Index block_columns = info(GetParam()).block_columns;
  const Index columns = 4 * block_columns;
  const Index rows = to_index(bytes.size()) / row_bytes(GetParam(), columns);
  ASSERT_GE(rows, 2);
  std::vector<std::byte> shifted(bytes.size() + 1);
  std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
  const WeightView aligned = view_of(GetParam(), rows, columns, bytes.data());
  const WeightView odd = view_of(GetParam(), rows, columns, shifted.data() + 1);
  std::vector<float> whole(to_size(columns));
  std::vector<float> part(to_size(columns));
  std::vector<double> wide(to_size(columns));
  for (Index row = 0; row < rows; ++row) {
    decode_row(aligned, row, 0, columns, whole.data());
    for (Index first = 0; first < columns; first += block_columns) {
      decode_row(odd, row, first, block_columns, part.data() + first);
    }
    decode_row(odd.slice_rows(row, 1), 0, 0, columns, wide.data());
    for (std::size_t i = 0; i < whole.size(); ++i) {
      ASSERT_EQ(whole[i], part[i]);
      ASSERT_EQ(static_cast<double>(whole[i]), wide[i]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryFormat,
                         GgmlBlocks,
                         ::testing::ValuesIn(block_formats()),
                         [](const auto& item) { return std::string(to_string(item.param)); });

TEST(GgmlBlocks, ThereIsOneDecoderForEveryBlockFormat) {
  EXPECT_EQ(block_formats().size(), 22U);
}

TEST(PlainFormats, DecodeEveryBitPattern) {
  const auto bytes = random_bytes(4 * 64 + 1, 5);
  for (const WeightFormat format : {WeightFormat::F32, WeightFormat::F16, WeightFormat::BF16}) {
    const WeightView view = view_of(format, 2, 32, bytes.data() + 1);
    float values[32];
    double wide[32];
    decode_row(view, 1, 0, 32, values);
    decode_row(view, 1, 0, 32, wide);
    for (Index i = 0; i < 32; ++i) {
      float expected = 0;
      const std::byte* at = view.data + view.row_stride_bytes + i * info(format).block_bytes;
      if (format == WeightFormat::F32) {
        std::memcpy(&expected, at, 4);
      } else {
        std::uint16_t bits = 0;
        std::memcpy(&bits, at, 2);
        expected = format == WeightFormat::F16 ? f16_to_float(bits) : bf16_to_float(bits);
      }
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(values[i]) && std::isnan(wide[i]));
      } else {
        EXPECT_EQ(values[i], expected);
        EXPECT_EQ(wide[i], static_cast<double>(expected));
      }
    }
  }
}

// A matrix of 300 x 200 in FP8: the last tiles are cut in both directions.
struct Fp8Matrix {
  static constexpr Index kRows = 300;
  static constexpr Index kColumns = 200;
  std::vector<std::byte> codes = random_bytes(to_size(kRows * kColumns), 11);
  std::vector<std::byte> e8m0 = std::vector<std::byte>(6);
  std::vector<float> f32 = {0.5F, 3.0F, 1e-3F, 7.0F, 0.1F, 2.0F};

  Fp8Matrix() {
    for (std::size_t i = 0; i < codes.size(); ++i) {
      if ((codes[i] & std::byte{0x7f}) == std::byte{0x7f}) {
        codes[i] = std::byte{0x38};
      }
    }
    for (std::size_t i = 0; i < e8m0.size(); ++i) {
      e8m0[i] = static_cast<std::byte>(117 + 3 * i);
    }
  }
  WeightView view(ScaleFormat format) const {
    WeightView result = view_of(WeightFormat::Fp8, kRows, kColumns, codes.data());
    result.scale_format = format;
    result.scales =
        format == ScaleFormat::E8M0 ? e8m0.data() : reinterpret_cast<const std::byte*>(f32.data());
    result.scale_row_stride_bytes = format == ScaleFormat::E8M0 ? 2 : 8;
    return result;
  }
  double expected(ScaleFormat format, Index row, Index column) const {
    const std::size_t tile = to_size(row / 128 * 2 + column / 128);
    const double scale = format == ScaleFormat::E8M0
                             ? std::ldexp(1.0, std::to_integer<int>(e8m0[tile]) - 127)
                             : static_cast<double>(f32[tile]);
    const auto code = std::to_integer<std::uint8_t>(codes[to_size(row * kColumns + column)]);
    return static_cast<double>(e4m3_to_float(code)) * scale;
  }
};

TEST(Fp8, EveryElementIsItsCodeTimesTheScaleOfItsTile) {
  const Fp8Matrix matrix;
  for (const ScaleFormat format : {ScaleFormat::E8M0, ScaleFormat::F32}) {
    const WeightView view = matrix.view(format);
    std::vector<double> wide(200);
    std::vector<float> values(200);
    for (Index row = 0; row < view.rows; ++row) {
      decode_row(view, row, 0, 200, wide.data());
      decode_row(view, row, 0, 200, values.data());
      for (Index column = 0; column < 200; ++column) {
        const double expected = matrix.expected(format, row, column);
        ASSERT_EQ(wide[to_size(column)], expected) << row << " " << column;
        ASSERT_EQ(values[to_size(column)], static_cast<float>(expected));
      }
    }
  }
}

TEST(Fp8, SliceOfRowsKeepsTheTilesOfItsMatrix) {
  const Fp8Matrix matrix;
  const WeightView slice = matrix.view(ScaleFormat::E8M0).slice_rows(100, 150).slice_rows(20, 130);
  EXPECT_EQ(slice.first_row, 120);
  std::vector<double> values(80);
  for (Index row = 0; row < slice.rows; ++row) {
    decode_row(slice, row, 101, 80, values.data());  // crosses a tile in the middle
    for (Index i = 0; i < 80; ++i) {
      ASSERT_EQ(values[to_size(i)], matrix.expected(ScaleFormat::E8M0, 120 + row, 101 + i));
    }
  }
}

TEST(Fp4, LowNibbleIsTheEvenColumnAndEveryRowHasItsScales) {
  const auto codes = random_bytes(3 * 64, 13);
  const auto scales = random_bytes(3 * 4, 17);
  WeightView view = view_of(WeightFormat::Fp4, 3, 128, codes.data());
  view.scale_format = ScaleFormat::E8M0;
  view.scales = scales.data();
  view.scale_row_stride_bytes = 4;
  double values[96];
  const WeightView slice = view.slice_rows(1, 2);
  for (Index row = 0; row < 2; ++row) {
    decode_row(slice, row, 32, 96, values);
    for (Index i = 0; i < 96; ++i) {
      const Index column = 32 + i;
      const auto pair = std::to_integer<unsigned>(codes[to_size((row + 1) * 64 + column / 2)]);
      const unsigned code = column % 2 == 0 ? pair & 15U : pair >> 4;
      const auto scale =
          std::to_integer<std::uint8_t>(scales[to_size((row + 1) * 4 + column / 32)]);
      const double expected =
          static_cast<double>(kE2m1Values[code]) * static_cast<double>(e8m0_to_float(scale));
      ASSERT_EQ(values[i], expected) << row << " " << column;
    }
  }
}

TEST(BadScale, NanAndInfinityAreFoundOnlyInTheRowsOfTheView) {
  Fp8Matrix matrix;
  EXPECT_FALSE(find_bad_scale(matrix.view(ScaleFormat::E8M0)).has_value());
  EXPECT_FALSE(find_bad_scale(matrix.view(ScaleFormat::F32)).has_value());
  matrix.e8m0[3] = std::byte{255};
  const auto found = find_bad_scale(matrix.view(ScaleFormat::E8M0));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->row, 1);
  EXPECT_EQ(found->column, 1);
  EXPECT_TRUE(find_bad_scale(matrix.view(ScaleFormat::E8M0).slice_rows(100, 29)).has_value());
  EXPECT_FALSE(find_bad_scale(matrix.view(ScaleFormat::E8M0).slice_rows(100, 28)).has_value());
  EXPECT_FALSE(find_bad_scale(matrix.view(ScaleFormat::E8M0).slice_rows(256, 44)).has_value());
  matrix.f32[4] = std::numeric_limits<float>::infinity();
  ASSERT_TRUE(find_bad_scale(matrix.view(ScaleFormat::F32)).has_value());
  EXPECT_EQ(find_bad_scale(matrix.view(ScaleFormat::F32))->row, 2);
}

TEST(BadScale, FormatsWithoutSeparateScalesHaveNone) {
  const auto bytes = random_bytes(1024, 1);
  EXPECT_FALSE(find_bad_scale(view_of(WeightFormat::Q8_0, 4, 32, bytes.data())).has_value());
}

}  // namespace
}  // namespace fathom::numeric
