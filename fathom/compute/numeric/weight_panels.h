// Weights in panels: 16 rows interleaved, so that a product with a few tokens reads memory in one
// sweep and needs no rearranging in registers.
//
// Nothing is rounded: a panel holds the same codes and scales as the rows. Behind the last row of a
// matrix a panel is filled up with zeros. It is block after block of 32 columns, each with its
//
//   scales   [row 16], as the format stores them: F16 or E8M0
//   minima   [row 16], F16, of formats that have them
//   codes    bytes: [step 8][row 16][column 4], where a step is four columns;
//            nibbles, of formats of four bits: [pair of steps 4][row 16][column 4]; the low nibble
//            belongs to the even step of the pair, the high one to the odd step
//            FP8: [step 8][four rows 4][pair of columns 2][row 4][column 2], for units that add two
//            products; its scales, one for 128 rows, stay where they are
//
// A block's parts lie together because memory is read fastest as one stream: with the scales of a
// panel behind its codes, products of one token took up to twice as long.
#pragma once

#include <cstdint>

#include "fathom/compute/numeric/int8_blocks.h"
#include "fathom/compute/numeric/weight_format.h"

namespace fathom::numeric {

inline constexpr Index kPanelStepColumns = 4;
inline constexpr Index kPanelSteps = kInt8BlockColumns / kPanelStepColumns;

// Bytes of one block of a panel.
struct PanelBlock {
  Index scale_bytes;    // 0: scales lie elsewhere
  Index minimum_bytes;  // 0: the format has no minimum
  Index code_bytes;

  Index minima_at() const { return scale_bytes; }
  Index codes_at() const { return scale_bytes + minimum_bytes; }
  Index bytes() const { return scale_bytes + minimum_bytes + code_bytes; }
  bool has_nibbles() const { return code_bytes == kPanelRows * kInt8BlockColumns / 2; }
};
// Of a format that has int8 blocks, or FP8.
PanelBlock panel_block(WeightFormat format) noexcept;

Index panel_bytes(WeightFormat format, Index columns) noexcept;

// The nibbles' values, of formats whose panels have nibbles.
const NibbleCodeTable& nibble_codes(WeightFormat format) noexcept;
// Scale of a row in a panel's block. (F16 formats: the number; E8M0: half of it, as the codes are
// twice E2M1.)
float panel_scale(WeightFormat format, const std::uint8_t* scales, Index row) noexcept;

// Where a panel of FP8 has the code of one of its rows.
constexpr Index fp8_code_at(Index row, Index column) {
  return column / kPanelStepColumns * kPanelRows * kPanelStepColumns + row / 4 * 16 +
         column % kPanelStepColumns / 2 * 8 + row % 4 * 2 + column % 2;
}

// Whether a matrix can be put into panels: its format has int8 blocks or is FP8 with scales that
// are powers of two, and it lies in rows.
bool can_be_in_panels(const WeightView& view) noexcept;
// Whether panels take no more memory than rows do, but for what fills up the last of them.
bool are_panels_as_small(WeightFormat format) noexcept;

// Bytes of the whole matrix in panels.
Index bytes_in_panels(const WeightView& rows) noexcept;
// The matrix in panels that begin at `data`.
WeightView view_of_panels(const WeightView& rows, const std::byte* data) noexcept;

// Puts blocks [first_block, first_block + num_blocks) of rows [first_row, first_row + 16) into
// `out`; rows behind the last become zeros.
void pack_panel(const WeightView& rows,
                Index first_row,
                Index first_block,
                Index num_blocks,
                std::uint8_t* out) noexcept;

// Panels [first_panel, first_panel + num_panels) of the matrix, to their places behind `data`,
// where panel 0 begins.
void pack_panels(const WeightView& rows,
                 Index first_panel,
                 Index num_panels,
                 std::byte* data) noexcept;

}  // namespace fathom::numeric
