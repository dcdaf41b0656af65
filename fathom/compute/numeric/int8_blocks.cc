#include "fathom/compute/numeric/int8_blocks.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fathom/compute/numeric/ggml_blocks.h"
#include "fathom/compute/numeric/small_floats.h"
#include "fathom/compute/numeric/weight_panels.h"

namespace fathom::numeric {
namespace {

float read_f16(const std::uint8_t* bytes) {
  return f16_to_float(ggml::read_u16(bytes));
}

// 16 bytes: column j low, column j + 16 high.
void read_nibbles(const std::uint8_t* bytes, const NibbleCodeTable& table, std::int8_t* codes) {
  for (std::size_t j = 0; j < 16; ++j) {
    codes[j] = table[bytes[j] & 15U];
    codes[j + 16] = table[bytes[j] >> 4U];
  }
}

// As read_nibbles with a fifth bit of column j at bit j of `high`; `offset` is subtracted.
void read_five_bits(const std::uint8_t* bytes, std::uint32_t high, int offset, std::int8_t* codes) {
  for (unsigned j = 0; j < 16; ++j) {
    const int low_code = (bytes[j] & 15) | static_cast<int>(high >> j & 1U) << 4;
    const int high_code = bytes[j] >> 4 | static_cast<int>(high >> (j + 16) & 1U) << 4;
    codes[j] = static_cast<std::int8_t>(low_code - offset);
    codes[j + 16] = static_cast<std::int8_t>(high_code - offset);
  }
}

void read_panel_block(const WeightView& view, Index row, Index block, Int8Block& out) {
  const PanelBlock shape = panel_block(view.format);
  const Index lane = row % kPanelRows;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(view.data) +
                      (row - lane) * view.row_stride_bytes + block * shape.bytes();
  const std::uint8_t* codes = bytes + shape.codes_at();
  for (Index column = 0; column < kInt8BlockColumns; ++column) {
    const Index step = column / kPanelStepColumns;
    const Index place = lane * kPanelStepColumns + column % kPanelStepColumns;
    std::int8_t& code = out.codes[column];
    if (shape.has_nibbles()) {
      const std::uint8_t pair = codes[step / 2 * kPanelRows * kPanelStepColumns + place];
      code = nibble_codes(view.format)[step % 2 == 0 ? pair & 15U : pair >> 4U];
    } else {
      code = static_cast<std::int8_t>(codes[step * kPanelRows * kPanelStepColumns + place]);
    }
  }
  out.scale = panel_scale(view.format, bytes, lane);
  out.minimum = shape.minimum_bytes > 0 ? read_f16(bytes + shape.minima_at() + 2 * lane) : 0.0F;
}

}  // namespace

bool has_int8_blocks(WeightFormat format) noexcept {
  switch (format) {
    case WeightFormat::Fp4:
    case WeightFormat::Mxfp4:
    case WeightFormat::Q4_0:
    case WeightFormat::Q4_1:
    case WeightFormat::Q5_0:
    case WeightFormat::Q5_1:
    case WeightFormat::Q8_0:
    case WeightFormat::IQ4_NL:
      return true;
    default:
      return false;
  }
}

bool has_int8_minimum(WeightFormat format) noexcept {
  return format == WeightFormat::Q4_1 || format == WeightFormat::Q5_1;
}

void read_int8_block(const WeightView& view, Index row, Index block, Int8Block& out) noexcept {
  if (view.layout == WeightLayout::Panels) {
    return read_panel_block(view, row, block, out);
  }
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(view.data) +
                      row * view.row_stride_bytes +
                      row_bytes(view.format, kInt8BlockColumns * block);
  out.minimum = 0;
  switch (view.format) {
    case WeightFormat::Fp4: {
      // Adjacent columns share a byte; codes are twice E2M1, so the scale is halved.
      for (std::size_t j = 0; j < 16; ++j) {
        out.codes[2 * j] = kTwiceE2m1Codes[bytes[j] & 15U];
        out.codes[2 * j + 1] = kTwiceE2m1Codes[bytes[j] >> 4U];
      }
      out.scale = 0.5F * scale_at(view, row, kInt8BlockColumns * block);
      return;
    }
    case WeightFormat::Mxfp4:
      read_nibbles(bytes + 1, kTwiceE2m1Codes, out.codes);
      out.scale = mxfp4_half_scale(bytes[0]);
      return;
    case WeightFormat::Q4_0:
      read_nibbles(bytes + 2, kCodesFromMinusEight, out.codes);
      break;
    case WeightFormat::Q4_1:
      read_nibbles(bytes + 4, kCodesFromZero, out.codes);
      out.minimum = read_f16(bytes + 2);
      break;
    case WeightFormat::Q5_0:
      read_five_bits(bytes + 6, ggml::read_u32(bytes + 2), 16, out.codes);
      break;
    case WeightFormat::Q5_1:
      read_five_bits(bytes + 8, ggml::read_u32(bytes + 4), 0, out.codes);
      out.minimum = read_f16(bytes + 2);
      break;
    case WeightFormat::IQ4_NL:
      read_nibbles(bytes + 2, kIq4Codes, out.codes);
      break;
    default:  // Q8_0
      std::transform(bytes + 2, bytes + 2 + kInt8BlockColumns, out.codes,
                     [](std::uint8_t byte) { return static_cast<std::int8_t>(byte); });
  }
  out.scale = read_f16(bytes);
}

RoundedBlock round_to_int8_block(const float* x, Index count, std::uint8_t* codes) noexcept {
  float smallest = 0;
  float largest = 0;
  bool is_finite = true;
  for (Index i = 0; i < count; ++i) {
    is_finite = is_finite && std::isfinite(x[i]);
    smallest = std::min(smallest, x[i]);
    largest = std::max(largest, x[i]);
  }
  const float range = largest - smallest;
  is_finite = is_finite && std::isfinite(range);
  if (!is_finite || !(range > kSmallestInt8Range)) {
    std::fill(codes, codes + count, std::uint8_t{0});
    return {is_finite ? 0.0F : std::numeric_limits<float>::quiet_NaN(), 0, 0};
  }
  const float factor = kInt8CodeRange / range;
  const float first = std::nearbyint(smallest * factor);
  std::int32_t sum = 0;
  for (Index i = 0; i < count; ++i) {
    const float multiple = std::nearbyint(x[i] * factor);
    codes[i] = static_cast<std::uint8_t>(multiple - first);
    sum += static_cast<std::int32_t>(multiple);
  }
  return {range / kInt8CodeRange, static_cast<std::int32_t>(-first), sum};
}

}  // namespace fathom::numeric
