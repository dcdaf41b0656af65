#include "fathom/compute/numeric/weight_format.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "fathom/base/core/error.h"
#include "fathom/compute/numeric/ggml_blocks.h"
#include "fathom/compute/numeric/int8_blocks.h"
#include "fathom/compute/numeric/small_floats.h"
#include "fathom/compute/numeric/weight_panels.h"

namespace fathom::numeric {
namespace {

constexpr WeightFormatInfo kFormats[] = {
    {WeightFormat::F32, "F32", 1, 4},
    {WeightFormat::F16, "F16", 1, 2},
    {WeightFormat::BF16, "BF16", 1, 2},
    {WeightFormat::Fp8, "FP8", 1, 1},
    {WeightFormat::Fp4, "FP4", 32, 16},
    {WeightFormat::Mxfp4, "MXFP4", 32, 17},
    {WeightFormat::Q4_0, "Q4_0", 32, 18},
    {WeightFormat::Q4_1, "Q4_1", 32, 20},
    {WeightFormat::Q5_0, "Q5_0", 32, 22},
    {WeightFormat::Q5_1, "Q5_1", 32, 24},
    {WeightFormat::Q8_0, "Q8_0", 32, 34},
    {WeightFormat::Q2_K, "Q2_K", 256, 84},
    {WeightFormat::Q3_K, "Q3_K", 256, 110},
    {WeightFormat::Q4_K, "Q4_K", 256, 144},
    {WeightFormat::Q5_K, "Q5_K", 256, 176},
    {WeightFormat::Q6_K, "Q6_K", 256, 210},
    {WeightFormat::TQ1_0, "TQ1_0", 256, 54},
    {WeightFormat::TQ2_0, "TQ2_0", 256, 66},
    {WeightFormat::IQ1_S, "IQ1_S", 256, 50},
    {WeightFormat::IQ1_M, "IQ1_M", 256, 56},
    {WeightFormat::IQ2_XXS, "IQ2_XXS", 256, 66},
    {WeightFormat::IQ2_XS, "IQ2_XS", 256, 74},
    {WeightFormat::IQ2_S, "IQ2_S", 256, 82},
    {WeightFormat::IQ3_XXS, "IQ3_XXS", 256, 98},
    {WeightFormat::IQ3_S, "IQ3_S", 256, 110},
    {WeightFormat::IQ4_NL, "IQ4_NL", 32, 18},
    {WeightFormat::IQ4_XS, "IQ4_XS", 256, 136},
};

constexpr bool is_in_enum_order() {
  for (std::size_t i = 0; i < std::size(kFormats); ++i) {
    if (static_cast<std::size_t>(kFormats[i].format) != i) {
      return false;
    }
  }
  return true;
}
static_assert(is_in_enum_order(), "info() indexes the table with the enumerator");

std::uint8_t byte_at(const std::byte* bytes, Index position) {
  return std::to_integer<std::uint8_t>(bytes[position]);
}

template <typename Bits>
Bits load(const std::byte* bytes, Index position) {
  Bits bits{};
  std::memcpy(&bits, bytes + position * to_index(sizeof(Bits)), sizeof(Bits));
  return bits;
}

// The scale at a place of the matrix of scales; 1 without scales.
float scale_in_row(const WeightView& view, Index scale_row, Index scale_column) {
  const std::byte* row = view.scales + scale_row * view.scale_row_stride_bytes;
  switch (view.scale_format) {
    case ScaleFormat::None:
      return 1.0F;
    case ScaleFormat::E8M0:
      return e8m0_to_float(byte_at(row, scale_column));
    case ScaleFormat::F32:
      return std::bit_cast<float>(load<std::uint32_t>(row, scale_column));
  }
  return 1.0F;
}

template <typename Real>
void decode_fp8(const WeightView& view, Index row, Index first, Index count, Real* out) {
  const bool is_in_panels = view.layout == WeightLayout::Panels;
  const Index first_row = is_in_panels ? row / kPanelRows * kPanelRows : row;
  const std::byte* codes = view.data + first_row * view.row_stride_bytes;
  const Index scale_row = (view.first_row + row) / kFp8TileRows;
  for (Index i = 0; i < count;) {
    const Index tile = (first + i) / kFp8TileColumns;
    const Index end = std::min(count, (tile + 1) * kFp8TileColumns - first);
    const auto scale = static_cast<Real>(scale_in_row(view, scale_row, tile));
    for (; i < end; ++i) {
      const Index at = is_in_panels ? fp8_code_at(row % kPanelRows, first + i) : first + i;
      out[i] = static_cast<Real>(e4m3_to_float(byte_at(codes, at))) * scale;
    }
  }
}

template <typename Real>
void decode_fp4(const WeightView& view, Index row, Index first, Index count, Real* out) {
  const std::byte* codes = view.data + row * view.row_stride_bytes + first / 2;
  for (Index i = 0; i < count; i += kFp4ScaleColumns) {
    const auto scale =
        static_cast<Real>(scale_in_row(view, view.first_row + row, (first + i) / kFp4ScaleColumns));
    for (Index j = 0; j < kFp4ScaleColumns; j += 2) {
      const unsigned pair = byte_at(codes, (i + j) / 2);
      out[i + j] = static_cast<Real>(kE2m1Values[pair & 15U]) * scale;
      out[i + j + 1] = static_cast<Real>(kE2m1Values[pair >> 4]) * scale;
    }
  }
}

template <typename Real>
void decode_blocks(const WeightView& view, Index row, Index first, Index count, Real* out) {
  const WeightFormatInfo& format = info(view.format);
  const BlockDecoder decode = block_decoder(view.format);
  const auto* block = reinterpret_cast<const std::uint8_t*>(
      view.data + row * view.row_stride_bytes + first / format.block_columns * format.block_bytes);
  for (Index i = 0; i < count; i += format.block_columns, block += format.block_bytes) {
    if constexpr (std::is_same_v<Real, float>) {
      decode(block, out + i);
    } else {
      float values[kMostBlockColumns];
      decode(block, values);
      std::copy(values, values + format.block_columns, out + i);
    }
  }
}

template <typename Real>
void decode_int8_blocks(const WeightView& view, Index row, Index first, Index count, Real* out) {
  Int8Block block;
  for (Index i = 0; i < count; i += kInt8BlockColumns) {
    read_int8_block(view, row, (first + i) / kInt8BlockColumns, block);
    for (Index j = 0; j < kInt8BlockColumns; ++j) {
      out[i + j] = static_cast<float>(block.codes[j]) * block.scale + block.minimum;
    }
  }
}

}  // namespace

const WeightFormatInfo& info(WeightFormat format) {
  return kFormats[static_cast<std::size_t>(format)];
}

std::string_view to_string(WeightFormat format) {
  return info(format).name;
}

std::optional<WeightFormat> weight_format_from_name(std::string_view name) {
  for (const WeightFormatInfo& row : kFormats) {
    if (row.name == name) {
      return row.format;
    }
  }
  return std::nullopt;
}

Index row_bytes(WeightFormat format, Index columns) {
  return columns / info(format).block_columns * info(format).block_bytes;
}

float scale_at(const WeightView& view, Index row, Index column) noexcept {
  if (view.format == WeightFormat::Fp8) {
    return scale_in_row(view, (view.first_row + row) / kFp8TileRows, column / kFp8TileColumns);
  }
  return scale_in_row(view, view.first_row + row, column / kFp4ScaleColumns);
}

WeightView WeightView::slice_rows(Index first, Index count) const {
  FATHOM_DCHECK(first >= 0 && count >= 0 && first + count <= rows);
  FATHOM_CHECK(layout == WeightLayout::Rows || first % kPanelRows == 0);
  WeightView slice = *this;
  slice.rows = count;
  slice.data = data + first * row_stride_bytes;
  slice.first_row = first_row + first;
  return slice;
}

template <typename Real>
void decode_row(
    const WeightView& view, Index row, Index first_column, Index count, Real* out) noexcept {
  if (view.layout == WeightLayout::Panels && view.format != WeightFormat::Fp8) {
    return decode_int8_blocks(view, row, first_column, count, out);
  }
  const std::byte* bytes = view.data + row * view.row_stride_bytes;
  switch (view.format) {
    case WeightFormat::F32:
      for (Index i = 0; i < count; ++i) {
        out[i] = std::bit_cast<float>(load<std::uint32_t>(bytes, first_column + i));
      }
      return;
    case WeightFormat::F16:
      for (Index i = 0; i < count; ++i) {
        out[i] = f16_to_float(load<std::uint16_t>(bytes, first_column + i));
      }
      return;
    case WeightFormat::BF16:
      for (Index i = 0; i < count; ++i) {
        out[i] = bf16_to_float(load<std::uint16_t>(bytes, first_column + i));
      }
      return;
    case WeightFormat::Fp8:
      return decode_fp8(view, row, first_column, count, out);
    case WeightFormat::Fp4:
      return decode_fp4(view, row, first_column, count, out);
    default:
      return decode_blocks(view, row, first_column, count, out);
  }
}

template void decode_row<float>(const WeightView&, Index, Index, Index, float*) noexcept;
template void decode_row<double>(const WeightView&, Index, Index, Index, double*) noexcept;

std::optional<ScalePosition> find_bad_scale(const WeightView& view) noexcept {
  if (view.scale_format == ScaleFormat::None || view.rows == 0) {
    return std::nullopt;
  }
  const bool is_tiled = view.format == WeightFormat::Fp8;
  const Index tile_rows = is_tiled ? kFp8TileRows : 1;
  const Index num_columns = ceil_div(view.columns, is_tiled ? kFp8TileColumns : kFp4ScaleColumns);
  const Index last = (view.first_row + view.rows - 1) / tile_rows;
  for (Index row = view.first_row / tile_rows; row <= last; ++row) {
    for (Index column = 0; column < num_columns; ++column) {
      if (!std::isfinite(scale_in_row(view, row, column))) {
        return ScalePosition{row, column};
      }
    }
  }
  return std::nullopt;
}

}  // namespace fathom::numeric
