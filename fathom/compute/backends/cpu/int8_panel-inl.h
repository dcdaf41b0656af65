// Panels of weights for integer products: 16 rows times 512 columns, rewritten so that one register
// holds the same few columns of all 16 rows.
//
// A lane is a row, so the integer sum of a block, its conversion and its scaling happen for 16 rows
// at once, and every row keeps the one order of docs/numerics.md whatever else is computed.
#if defined(FATHOM_CPU_INT8_PANEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_INT8_PANEL_INL_H_
#undef FATHOM_CPU_INT8_PANEL_INL_H_
#else
#define FATHOM_CPU_INT8_PANEL_INL_H_
#endif

#include "fathom/compute/backends/cpu/int8_formats-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {

// VNNI multiplies unsigned by signed bytes, four columns at a time: weights are stored plus 128,
// and 128 times the sum of the activation's codes is taken off again. Elsewhere codes are 16 bits
// wide and come in pairs of columns.
#if HWY_TARGET == HWY_AVX3_DL
using PanelCode = std::uint8_t;
inline constexpr Index kStepColumns = 4;
inline constexpr int kCodeOffset = 128;
#else
using PanelCode = std::int16_t;
inline constexpr Index kStepColumns = 2;
inline constexpr int kCodeOffset = 0;
#endif
inline constexpr Index kSteps = kBlock / kStepColumns;

// One token's activations and where its results go.
struct TokenRow {
  const std::int8_t* codes;
  const float* scales;
  const std::int32_t* sums;
  float* out;
};

struct Panel {
  // [block][step][row][column of the step]
  alignas(64) PanelCode codes[kPanelBlocks][kSteps][kPanelRows][kStepColumns];
  alignas(64) float scales[kPanelBlocks][kPanelRows];
  alignas(64) float minima[kPanelBlocks][kPanelRows];  // of formats that have them
};

// One block of one row, in any format.
HWY_INLINE void pack_block(
    const numeric::WeightView& view, Index row, Index block, Index lane, Index slot, Panel& panel) {
  numeric::Int8Block from;
  numeric::read_int8_block(view, row, block, from);
  for (Index step = 0; step < kSteps; ++step) {
    for (Index i = 0; i < kStepColumns; ++i) {
      panel.codes[slot][step][lane][i] =
          static_cast<PanelCode>(from.codes[step * kStepColumns + i] + kCodeOffset);
    }
  }
  panel.scales[slot][lane] = from.scale;
  panel.minima[slot][lane] = from.minimum;
}

#if HWY_TARGET == HWY_AVX3_DL

// 16 registers of 16 numbers of 32 bits: rows become columns.
HWY_INLINE void transpose(__m512i (&r)[16]) {
  __m512i t[16];
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
    r[4 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
    r[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
    r[12 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd);
  }
}

// All whole pairs of blocks; returns how many blocks were packed.
HWY_INLINE Index pack_pairs(const numeric::WeightView& view,
                            Index first_row,
                            Index first_block,
                            Index num_blocks,
                            Panel& panel) {
  const RowPointers rows = row_pointers(view, first_row);
  const Index end = num_blocks / 2 * 2;
  const bool is_known = with_block_format(view, [&](const auto& codes, auto scales_type) HWY_ATTR {
    using Codes = std::remove_cvref_t<decltype(codes)>;
    using Scales = typename decltype(scales_type)::type;
    constexpr Index kPairBytes = 2 * kPanelRows * Codes::kBlockBytes;
    const std::uint8_t* ahead = rows.codes[0] + first_block / 2 * kPairBytes + kAheadBytes;
    Scales scales;
    scales.gather(rows, first_block, end);
    for (Index block = 0; block < end; block += 2) {
      fetch(ahead, kPairBytes);
      ahead += kPairBytes;
      __m512i r[kPanelRows];
      for (Index row = 0; row < kPanelRows; ++row) {
        r[row] = codes.read(rows.codes[row] + (first_block + block) * Codes::kBlockBytes);
      }
      transpose(r);
      for (Index step = 0; step < 2 * kSteps; ++step) {
        _mm512_store_si512(panel.codes[block + step / kSteps][step % kSteps], r[step]);
      }
    }
    for (Index block = 0; block < end; ++block) {
      _mm512_store_ps(panel.scales[block], scales.scale(block));
      if constexpr (Scales::kHasMinimum) {
        _mm512_store_ps(panel.minima[block], scales.minimum(block));
      }
    }
  });
  return is_known ? end : 0;
}

#endif  // HWY_AVX3_DL

// Columns of `num_blocks` blocks from `first_block` on, of rows from first_row on. Lanes behind the
// last row repeat it; their sums are thrown away.
HWY_INLINE void pack_panel(const numeric::WeightView& view,
                           Index first_row,
                           Index first_block,
                           Index num_blocks,
                           Panel& panel) {
  const Index last_row = view.rows - 1;
  Index block = 0;
#if HWY_TARGET == HWY_AVX3_DL
  block = pack_pairs(view, first_row, first_block, num_blocks, panel);
#endif
  for (; block < num_blocks; ++block) {
    for (Index lane = 0; lane < kPanelRows; ++lane) {
      pack_block(view, HWY_MIN(first_row + lane, last_row), first_block + block, lane, block,
                 panel);
    }
  }
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
