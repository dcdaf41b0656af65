#include "fathom/compute/numeric/weight_encoder.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "fathom/compute/numeric/small_floats.h"

namespace fathom::numeric {
namespace {

// The largest magnitude of the numbers; a NaN is larger than any.
float largest_magnitude(const float* numbers, Index count, float least) {
  auto bits = std::bit_cast<std::uint32_t>(least);
  for (Index i = 0; i < count; ++i) {
    bits = std::max(bits, std::bit_cast<std::uint32_t>(numbers[i]) & 0x7fffffffU);
  }
  return std::bit_cast<float>(bits);
}

// Of a positive power of two from 2^-126 up; of infinity and NaN the code of NaN.
std::uint8_t to_e8m0(float scale) {
  return static_cast<std::uint8_t>(std::bit_cast<std::uint32_t>(scale) >> 23);
}

template <typename Number, typename Encode>
void encode_plain(const float* numbers, Index count, const Encode& encode, std::byte* out) {
  for (Index i = 0; i < count; ++i) {
    const Number number = encode(numbers[i]);
    std::memcpy(out + i * to_index(sizeof(Number)), &number, sizeof(Number));
  }
}

void encode_fp4_group(const float* numbers, std::byte* data, std::byte* scale_out) {
  const float scale = e2m1_group_scale(largest_magnitude(numbers, kFp4ScaleColumns, 0));
  const float inverse = 1.0F / scale;
  for (Index i = 0; i < kFp4ScaleColumns; i += 2) {
    const std::uint8_t low = float_to_e2m1(numbers[i] * inverse);
    const std::uint8_t high = float_to_e2m1(numbers[i + 1] * inverse);
    data[i / 2] = static_cast<std::byte>(low | (high << 4));
  }
  *scale_out = static_cast<std::byte>(to_e8m0(scale));
}

void store_scale(const EncodedRows& out, Index idx, float scale) {
  if (out.scale_format == ScaleFormat::F32) {
    std::memcpy(out.scales + idx * to_index(sizeof(float)), &scale, sizeof(float));
  } else {
    out.scales[idx] = static_cast<std::byte>(to_e8m0(scale));
  }
}

// Rows [first_row, first_row + rows) and columns of one tile.
void encode_fp8_tile(const float* numbers,
                     const EncodedRows& out,
                     Index first_row,
                     Index first_column) {
  const Index rows = std::min(kFp8TileRows, out.rows - first_row);
  const Index columns = std::min(kFp8TileColumns, out.columns - first_column);
  float largest = 0;
  for (Index row = first_row; row < first_row + rows; ++row) {
    largest = largest_magnitude(numbers + row * out.columns + first_column, columns, largest);
  }
  const float scale = e4m3_group_scale(largest);
  const float inverse = 1.0F / scale;
  for (Index row = first_row; row < first_row + rows; ++row) {
    const Index place = row * out.columns + first_column;
    for (Index i = 0; i < columns; ++i) {
      out.data[place + i] = static_cast<std::byte>(float_to_e4m3(numbers[place + i] * inverse));
    }
  }
  const Index tiles = ceil_div(out.columns, kFp8TileColumns);
  store_scale(out, first_row / kFp8TileRows * tiles + first_column / kFp8TileColumns, scale);
}

}  // namespace

WeightView EncodedRows::view() const {
  WeightView view;
  view.format = format;
  view.rows = rows;
  view.columns = columns;
  view.data = data;
  view.row_stride_bytes = row_bytes(format, columns);
  view.scale_format = scale_format;
  view.scales = scales;
  view.scale_row_stride_bytes = scale_bytes(format, scale_format, 1, columns);
  return view;
}

Index scale_bytes(WeightFormat format, ScaleFormat scale_format, Index rows, Index columns) {
  const Index size = scale_format == ScaleFormat::F32 ? to_index(sizeof(float)) : 1;
  switch (format) {
    case WeightFormat::Fp8:
      return ceil_div(rows, kFp8TileRows) * ceil_div(columns, kFp8TileColumns) * size;
    case WeightFormat::Fp4:
      return rows * (columns / kFp4ScaleColumns) * size;
    default:
      return 0;
  }
}

bool can_encode(WeightFormat format) {
  switch (format) {
    case WeightFormat::F32:
    case WeightFormat::F16:
    case WeightFormat::BF16:
    case WeightFormat::Fp8:
    case WeightFormat::Fp4:
      return true;
    default:
      return false;
  }
}

void encode_rows(const float* numbers, const EncodedRows& out) noexcept {
  const Index count = out.rows * out.columns;
  switch (out.format) {
    case WeightFormat::F16:
      encode_plain<std::uint16_t>(numbers, count, &float_to_f16, out.data);
      return;
    case WeightFormat::BF16:
      encode_plain<std::uint16_t>(
          numbers, count, [](float number) { return float_to_bf16(number); }, out.data);
      return;
    case WeightFormat::Fp8:
      for (Index row = 0; row < out.rows; row += kFp8TileRows) {
        for (Index column = 0; column < out.columns; column += kFp8TileColumns) {
          encode_fp8_tile(numbers, out, row, column);
        }
      }
      return;
    case WeightFormat::Fp4:
      for (Index group = 0; group < count / kFp4ScaleColumns; ++group) {
        encode_fp4_group(numbers + group * kFp4ScaleColumns,
                         out.data + group * kFp4ScaleColumns / 2, out.scales + group);
      }
      return;
    default:
      std::memcpy(out.data, numbers, to_size(count) * sizeof(float));
  }
}

}  // namespace fathom::numeric
