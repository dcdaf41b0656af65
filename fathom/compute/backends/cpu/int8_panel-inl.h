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

#include <cstring>

#include <hwy/cache_control.h>

#include "fathom/compute/backends/cpu/simd-inl.h"
#include "fathom/compute/numeric/ggml_blocks.h"
#include "fathom/compute/numeric/int8_blocks.h"
#include "fathom/compute/numeric/small_floats.h"

#if HWY_TARGET == HWY_AVX3_DL
#include <immintrin.h>
#endif

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {

inline constexpr Index kPanelRows = 16;
inline constexpr Index kBlock = numeric::kInt8BlockColumns;
inline constexpr Index kPanelBlocks = 16;
inline constexpr Index kPanelColumns = kPanelBlocks * kBlock;

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

// How two blocks of a row become a register of 64 codes plus 128. `kOrder` says where its 16 groups
// of four columns belong: step kOrder[i] % 8 of block kOrder[i] / 8.
struct BytePair {  // Q8_0
  static constexpr Index kBlockBytes = 34;
  static constexpr Index kOrder[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  static HWY_INLINE __m512i read(const std::uint8_t* bytes, __m512i /*table*/) {
    const __m512i low =
        _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + 2)));
    const __m256i high =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + 2 + kBlockBytes));
    return _mm512_xor_si512(_mm512_inserti64x4(low, high, 1), _mm512_set1_epi8(-128));
  }
};

HWY_INLINE __m256i load_halves(const std::uint8_t* first, const std::uint8_t* second) {
  const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(first));
  const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(second));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

// ggml's nibbles: column j low, column j + 16 high, behind a head of kHead bytes.
template <Index kHead>
struct NibblePair {
  static constexpr Index kBlockBytes = kHead + 16;
  static constexpr Index kOrder[16] = {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15};
  static HWY_INLINE __m512i read(const std::uint8_t* bytes, __m512i table) {
    const __m256i packed = load_halves(bytes + kHead, bytes + kHead + kBlockBytes);
    const __m512i both =
        _mm512_inserti64x4(_mm512_castsi256_si512(packed), _mm256_srli_epi16(packed, 4), 1);
    return _mm512_shuffle_epi8(table, _mm512_and_si512(both, _mm512_set1_epi8(15)));
  }
};

// Official FP4: adjacent columns share a byte.
struct AdjacentPair {
  static constexpr Index kBlockBytes = 16;
  static constexpr Index kOrder[16] = {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15};
  static HWY_INLINE __m512i read(const std::uint8_t* bytes, __m512i table) {
    const __m256i packed = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
    const __m256i shifted = _mm256_srli_epi16(packed, 4);
    const __m512i both =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_unpacklo_epi8(packed, shifted)),
                           _mm256_unpackhi_epi8(packed, shifted), 1);
    return _mm512_shuffle_epi8(table, _mm512_and_si512(both, _mm512_set1_epi8(15)));
  }
};

// Codes of blocks slot and slot + 1 of 16 rows, row i at rows[i].
template <typename Pair>
HWY_INLINE void pack_codes(const std::uint8_t* const (&rows)[kPanelRows],
                           Index block,
                           __m512i table,
                           Index slot,
                           Panel& panel) {
  __m512i r[16];
  for (int i = 0; i < 16; ++i) {
    r[i] = Pair::read(rows[i] + block * Pair::kBlockBytes, table);
  }
  transpose(r);
  for (int i = 0; i < 16; ++i) {
    const Index place = Pair::kOrder[i];
    _mm512_store_si512(panel.codes[slot + place / kSteps][place % kSteps], r[i]);
  }
}

// F16 numbers `at` bytes into a block, of two blocks of 16 rows, as fp32.
template <typename Pair>
HWY_INLINE void pack_f16(const std::uint8_t* const (&rows)[kPanelRows],
                         Index block,
                         Index at,
                         float (*out)[kPanelRows]) {
  for (Index b = 0; b < 2; ++b) {
    alignas(32) std::uint16_t halves[kPanelRows];
    for (Index i = 0; i < kPanelRows; ++i) {
      std::memcpy(&halves[i], rows[i] + (block + b) * Pair::kBlockBytes + at, 2);
    }
    _mm512_store_ps(out[b],
                    _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(halves))));
  }
}

// Half of 2^(code - 127), as numeric::mxfp4_half_scale.
HWY_INLINE __m512 half_of_e8m0(__m512i wide) {
  const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(wide, _mm512_set1_epi32(1)), 23);
  const __m512i tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), wide);
  const __mmask16 is_tiny = _mm512_cmplt_epu32_mask(wide, _mm512_set1_epi32(2));
  return _mm512_castsi512_ps(_mm512_mask_mov_epi32(normal, is_tiny, tiny));
}

constexpr std::int8_t kTwiceE2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// A table of 16 codes plus 128, four times.
HWY_INLINE __m512i code_table(const std::int8_t* codes) {
  const __m128i row = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes));
  return _mm512_xor_si512(_mm512_broadcast_i32x4(row), _mm512_set1_epi8(-128));
}
HWY_INLINE __m512i linear_table(int first) {
  alignas(16) std::int8_t codes[16];
  for (int i = 0; i < 16; ++i) {
    codes[i] = static_cast<std::int8_t>(first + i);
  }
  return code_table(codes);
}

// Two blocks of 16 rows in the formats that models are mostly stored in; false for others.
HWY_INLINE bool pack_pair(const numeric::WeightView& view,
                          const std::uint8_t* const (&rows)[kPanelRows],
                          Index first_row,
                          Index last_row,
                          Index block,
                          Index slot,
                          Panel& panel) {
  using numeric::WeightFormat;
  switch (view.format) {
    case WeightFormat::Q8_0:
      pack_codes<BytePair>(rows, block, _mm512_setzero_si512(), slot, panel);
      pack_f16<BytePair>(rows, block, 0, panel.scales + slot);
      return true;
    case WeightFormat::Q4_0:
      pack_codes<NibblePair<2>>(rows, block, linear_table(-8), slot, panel);
      pack_f16<NibblePair<2>>(rows, block, 0, panel.scales + slot);
      return true;
    case WeightFormat::Q4_1:
      pack_codes<NibblePair<4>>(rows, block, linear_table(0), slot, panel);
      pack_f16<NibblePair<4>>(rows, block, 0, panel.scales + slot);
      pack_f16<NibblePair<4>>(rows, block, 2, panel.minima + slot);
      return true;
    case WeightFormat::IQ4_NL:
      pack_codes<NibblePair<2>>(rows, block, code_table(numeric::kIq4Codes.data()), slot, panel);
      pack_f16<NibblePair<2>>(rows, block, 0, panel.scales + slot);
      return true;
    case WeightFormat::Mxfp4:
      pack_codes<NibblePair<1>>(rows, block, code_table(kTwiceE2m1), slot, panel);
      for (Index b = 0; b < 2; ++b) {
        alignas(16) std::uint8_t codes[kPanelRows];
        for (Index i = 0; i < kPanelRows; ++i) {
          codes[i] = rows[i][(block + b) * 17];
        }
        _mm512_store_ps(panel.scales[slot + b], half_of_e8m0(_mm512_cvtepu8_epi32(_mm_load_si128(
                                                    reinterpret_cast<const __m128i*>(codes)))));
      }
      return true;
    case WeightFormat::Fp4:
      if (view.scale_format != numeric::ScaleFormat::E8M0) {
        return false;
      }
      pack_codes<AdjacentPair>(rows, block, code_table(kTwiceE2m1), slot, panel);
      for (Index b = 0; b < 2; ++b) {
        alignas(16) std::uint8_t codes[kPanelRows];
        for (Index i = 0; i < kPanelRows; ++i) {
          const Index scale_row = view.first_row + HWY_MIN(first_row + i, last_row);
          codes[i] = static_cast<std::uint8_t>(
              view.scales[scale_row * view.scale_row_stride_bytes + block + b]);
        }
        _mm512_store_ps(panel.scales[slot + b], half_of_e8m0(_mm512_cvtepu8_epi32(_mm_load_si128(
                                                    reinterpret_cast<const __m128i*>(codes)))));
      }
      return true;
    default:
      return false;
  }
}

#endif  // HWY_AVX3_DL

// How far ahead memory is fetched: 16 rows read in turn are too many streams for the hardware's own
// prefetching, but together they are one long sweep. Found by measurement.
inline constexpr Index kAheadBytes = 32 * 1024;
HWY_INLINE void fetch(const std::uint8_t* from, Index num_bytes) {
  constexpr Index kLineBytes = 64;
  for (Index line = 0; line < num_bytes; line += kLineBytes) {
    hwy::Prefetch(from + line);
  }
}

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
  const std::uint8_t* rows[kPanelRows];
  for (Index i = 0; i < kPanelRows; ++i) {
    rows[i] = reinterpret_cast<const std::uint8_t*>(view.data) +
              HWY_MIN(first_row + i, last_row) * view.row_stride_bytes;
  }
  const Index pair_bytes = 2 * kPanelRows * numeric::row_bytes(view.format, kBlock);
  const std::uint8_t* ahead = rows[0] + first_block / 2 * pair_bytes + kAheadBytes;
  for (; block + 2 <= num_blocks; block += 2) {
    fetch(ahead, pair_bytes);
    ahead += pair_bytes;
    if (!pack_pair(view, rows, first_row, last_row, first_block + block, block, panel)) {
      break;
    }
  }
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
