#include "fathom/compute/numeric/weight_panels.h"

#include <algorithm>
#include <cstring>

#include "fathom/base/core/error.h"
#include "fathom/compute/numeric/ggml_blocks.h"
#include "fathom/compute/numeric/small_floats.h"

namespace fathom::numeric {
namespace {

constexpr std::uint32_t kLowNibbles = 0x0f0f0f0f;

bool has_e8m0_scales(WeightFormat format) {
  return format == WeightFormat::Fp4 || format == WeightFormat::Mxfp4;
}

std::uint32_t load_word(const std::uint8_t* bytes) {
  std::uint32_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

// Four bytes of a row, of the columns that `step` names (nibbles: pair of steps).
void store_word(std::uint32_t word, Index step, Index lane, std::uint8_t* codes) {
  std::memcpy(codes + (step * kPanelRows + lane) * kPanelStepColumns, &word, sizeof(word));
}

// Each of four adjacent nibbles into the low half of a byte of its own.
std::uint32_t spread_nibbles(std::uint32_t four) {
  const std::uint32_t pairs = (four | four << 8U) & 0x00ff00ffU;
  return (pairs | pairs << 4U) & kLowNibbles;
}

// Where a block of a row has its parts, and how its codes go into a panel.
template <Index kHead>
struct SplitNibbles {  // ggml's: column j low, column j + 16 high
  static constexpr Index kCodesAt = kHead;
  static void pack(const std::uint8_t* bytes, Index lane, std::uint8_t* codes) {
    for (Index half = 0; half < 2; ++half) {
      const std::uint32_t even = load_word(bytes + 8 * half);
      const std::uint32_t odd = load_word(bytes + 8 * half + 4);
      store_word((even & kLowNibbles) | (odd & kLowNibbles) << 4U, half, lane, codes);
      store_word((even >> 4U & kLowNibbles) | (odd & ~kLowNibbles), half + 2, lane, codes);
    }
  }
};
struct AdjacentNibbles {  // two adjacent columns a byte
  static constexpr Index kCodesAt = 0;
  static void pack(const std::uint8_t* bytes, Index lane, std::uint8_t* codes) {
    for (Index pair = 0; pair < kPanelSteps / 2; ++pair) {
      const std::uint32_t eight = load_word(bytes + 4 * pair);
      const std::uint32_t word = spread_nibbles(eight & 0xffffU) | spread_nibbles(eight >> 16U)
                                                                       << 4U;
      store_word(word, pair, lane, codes);
    }
  }
};
struct Bytes {
  static constexpr Index kCodesAt = 2;
  static void pack(const std::uint8_t* bytes, Index lane, std::uint8_t* codes) {
    for (Index step = 0; step < kPanelSteps; ++step) {
      store_word(load_word(bytes + kPanelStepColumns * step), step, lane, codes);
    }
  }
};

struct Fp8Codes {
  static constexpr Index kCodesAt = 0;
  static void pack(const std::uint8_t* bytes, Index lane, std::uint8_t* codes) {
    for (Index column = 0; column < kInt8BlockColumns; column += 2) {
      std::memcpy(codes + fp8_code_at(lane, column), bytes + column, 2);
    }
  }
};

// The rows of a panel, block by block: what is written is then one stretch of memory.
template <typename Codes>
void pack_rows(const WeightView& view,
               Index first_row,
               Index num_rows,
               Index first_block,
               Index num_blocks,
               std::uint8_t* out) {
  const PanelBlock shape = panel_block(view.format);
  const Index block_bytes = row_bytes(view.format, kInt8BlockColumns);
  const auto* rows = reinterpret_cast<const std::uint8_t*>(view.data) +
                     first_row * view.row_stride_bytes + first_block * block_bytes;
  const auto* own_scales = reinterpret_cast<const std::uint8_t*>(view.scales);
  if (own_scales != nullptr) {
    own_scales += (view.first_row + first_row) * view.scale_row_stride_bytes + first_block;
  }
  for (Index block = 0; block < num_blocks; ++block, out += shape.bytes()) {
    for (Index lane = 0; lane < num_rows; ++lane) {
      const std::uint8_t* from = rows + lane * view.row_stride_bytes + block * block_bytes;
      Codes::pack(from + Codes::kCodesAt, lane, out + shape.codes_at());
      if (shape.scale_bytes == 0) {
        continue;
      }
      if (own_scales != nullptr) {
        out[lane] = own_scales[lane * view.scale_row_stride_bytes + block];
      } else if (shape.scale_bytes == kPanelRows) {
        out[lane] = from[0];
      } else {
        std::memcpy(out + 2 * lane, from, 2);
      }
      if (shape.minimum_bytes > 0) {
        std::memcpy(out + shape.minima_at() + 2 * lane, from + 2, 2);
      }
    }
  }
}

// Formats whose codes a block of bytes does not show as they are multiplied (Q5_0, Q5_1).
void pack_decoded_rows(const WeightView& view,
                       Index first_row,
                       Index num_rows,
                       Index first_block,
                       Index num_blocks,
                       std::uint8_t* out) {
  const PanelBlock shape = panel_block(view.format);
  Int8Block block;
  for (Index idx = 0; idx < num_blocks; ++idx, out += shape.bytes()) {
    for (Index lane = 0; lane < num_rows; ++lane) {
      const Index row = first_row + lane;
      read_int8_block(view, row, first_block + idx, block);
      Bytes::pack(reinterpret_cast<const std::uint8_t*>(block.codes), lane, out + shape.codes_at());
      const auto* from = reinterpret_cast<const std::uint8_t*>(view.data) +
                         row * view.row_stride_bytes +
                         row_bytes(view.format, kInt8BlockColumns * (first_block + idx));
      std::memcpy(out + 2 * lane, from, 2);
      if (shape.minimum_bytes > 0) {
        std::memcpy(out + shape.minima_at() + 2 * lane, from + 2, 2);
      }
    }
  }
}

using PackRows = void (*)(const WeightView& view,
                          Index first_row,
                          Index num_rows,
                          Index first_block,
                          Index num_blocks,
                          std::uint8_t* out);

PackRows pack_of(WeightFormat format) {
  switch (format) {
    case WeightFormat::Fp4:
      return &pack_rows<AdjacentNibbles>;
    case WeightFormat::Mxfp4:
      return &pack_rows<SplitNibbles<1>>;
    case WeightFormat::Q4_0:
    case WeightFormat::IQ4_NL:
      return &pack_rows<SplitNibbles<2>>;
    case WeightFormat::Q4_1:
      return &pack_rows<SplitNibbles<4>>;
    case WeightFormat::Q8_0:
      return &pack_rows<Bytes>;
    case WeightFormat::Fp8:
      return &pack_rows<Fp8Codes>;
    default:
      return &pack_decoded_rows;
  }
}

}  // namespace

PanelBlock panel_block(WeightFormat format) noexcept {
  constexpr Index kNibbles = kPanelRows * kInt8BlockColumns / 2;
  switch (format) {
    case WeightFormat::Fp4:
    case WeightFormat::Mxfp4:
      return {kPanelRows, 0, kNibbles};
    case WeightFormat::Q4_0:
    case WeightFormat::IQ4_NL:
      return {2 * kPanelRows, 0, kNibbles};
    case WeightFormat::Q4_1:
      return {2 * kPanelRows, 2 * kPanelRows, kNibbles};
    case WeightFormat::Q5_1:
      return {2 * kPanelRows, 2 * kPanelRows, 2 * kNibbles};
    case WeightFormat::Fp8:
      return {0, 0, 2 * kNibbles};
    default:  // Q8_0, Q5_0
      return {2 * kPanelRows, 0, 2 * kNibbles};
  }
}

Index panel_bytes(WeightFormat format, Index columns) noexcept {
  return columns / kInt8BlockColumns * panel_block(format).bytes();
}

const NibbleCodeTable& nibble_codes(WeightFormat format) noexcept {
  switch (format) {
    case WeightFormat::Q4_0:
      return kCodesFromMinusEight;
    case WeightFormat::Q4_1:
      return kCodesFromZero;
    case WeightFormat::IQ4_NL:
      return kIq4Codes;
    default:  // Fp4, Mxfp4
      return kTwiceE2m1Codes;
  }
}

float panel_scale(WeightFormat format, const std::uint8_t* scales, Index row) noexcept {
  return has_e8m0_scales(format) ? mxfp4_half_scale(scales[row])
                                 : f16_to_float(ggml::read_u16(scales + 2 * row));
}

bool can_be_in_panels(const WeightView& view) noexcept {
  // A panel's rows of FP8 have one scale.
  const bool is_fp8 = view.format == WeightFormat::Fp8 && view.first_row % kPanelRows == 0;
  return view.layout == WeightLayout::Rows && (has_int8_blocks(view.format) || is_fp8) &&
         view.columns % kInt8BlockColumns == 0 && view.scale_format != ScaleFormat::F32;
}

bool are_panels_as_small(WeightFormat format) noexcept {
  return (has_int8_blocks(format) || format == WeightFormat::Fp8) && format != WeightFormat::Q5_0 &&
         format != WeightFormat::Q5_1;
}

Index bytes_in_panels(const WeightView& rows) noexcept {
  return ceil_div(rows.rows, kPanelRows) * panel_bytes(rows.format, rows.columns);
}

WeightView view_of_panels(const WeightView& rows, const std::byte* data) noexcept {
  WeightView panels;
  panels.format = rows.format;
  panels.rows = rows.rows;
  panels.columns = rows.columns;
  panels.data = data;
  panels.row_stride_bytes = panel_bytes(rows.format, rows.columns) / kPanelRows;
  panels.layout = WeightLayout::Panels;
  if (rows.format == WeightFormat::Fp8) {
    panels.scale_format = rows.scale_format;
    panels.scales = rows.scales;
    panels.scale_row_stride_bytes = rows.scale_row_stride_bytes;
    panels.first_row = rows.first_row;
  }
  return panels;
}

void pack_panel(const WeightView& rows,
                Index first_row,
                Index first_block,
                Index num_blocks,
                std::uint8_t* out) noexcept {
  FATHOM_DCHECK(can_be_in_panels(rows));
  const Index num_rows = std::min(kPanelRows, rows.rows - first_row);
  if (num_rows < kPanelRows) {
    std::memset(out, 0, to_size(num_blocks * panel_block(rows.format).bytes()));
  }
  pack_of(rows.format)(rows, first_row, num_rows, first_block, num_blocks, out);
}

void pack_panels(const WeightView& rows,
                 Index first_panel,
                 Index num_panels,
                 std::byte* data) noexcept {
  const Index stride = panel_bytes(rows.format, rows.columns);
  for (Index panel = first_panel; panel < first_panel + num_panels; ++panel) {
    pack_panel(rows, panel * kPanelRows, 0, rows.columns / kInt8BlockColumns,
               reinterpret_cast<std::uint8_t*>(data + panel * stride));
  }
}

}  // namespace fathom::numeric
