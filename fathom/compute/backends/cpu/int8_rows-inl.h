// Integer products of a few tokens with rows of weights read as they lie in memory.
//
// A register holds 64 columns of one row. The sums of its two blocks are folded for 16 rows at
// once, so that scaling works on 16 rows, as in panels; the integers are exact, so both ways give
// the same bits. Only where the instruction set multiplies bytes (AVX-512 VNNI); others use panels.
#if defined(FATHOM_CPU_INT8_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_INT8_ROWS_INL_H_
#undef FATHOM_CPU_INT8_ROWS_INL_H_
#else
#define FATHOM_CPU_INT8_ROWS_INL_H_
#endif

#include "fathom/compute/backends/cpu/int8_panel-inl.h"

#if HWY_TARGET == HWY_AVX3_DL

HWY_BEFORE_NAMESPACE();
HWY_PUSH_ATTRIBUTES("avx512vnni")
namespace fathom::cpu::HWY_NAMESPACE {

// Sums of the lower and of the upper 8 lanes of 16 registers, register i's in lane i.
HWY_INLINE void fold(const __m512i (&r)[kPanelRows], __m512i& lower, __m512i& upper) {
  __m512i quads[4];
  for (int i = 0; i < 4; ++i) {
    const __m512i* at = r + 4 * i;
    const __m512i first =
        _mm512_add_epi32(_mm512_unpacklo_epi32(at[0], at[1]), _mm512_unpackhi_epi32(at[0], at[1]));
    const __m512i second =
        _mm512_add_epi32(_mm512_unpacklo_epi32(at[2], at[3]), _mm512_unpackhi_epi32(at[2], at[3]));
    quads[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(first, second),
                                _mm512_unpackhi_epi64(first, second));
  }
  const auto halves = [](__m512i a, __m512i b) HWY_ATTR {
    return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
  };
  const __m512i low_rows = halves(quads[0], quads[1]);
  const __m512i high_rows = halves(quads[2], quads[3]);
  lower = _mm512_shuffle_i32x4(low_rows, high_rows, 0x88);
  upper = _mm512_shuffle_i32x4(low_rows, high_rows, 0xdd);
}

// sum += one block's integer sums, scaled: the arithmetic of both kernel shapes.
HWY_INLINE __m512 add_block(__m512 sum, __m512i whole, __m512 weight_scale, float x_scale) {
  const __m512 scale = _mm512_mul_ps(weight_scale, _mm512_set1_ps(x_scale));
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, sum);
}
HWY_INLINE __m512 add_minimum(__m512 sum, __m512 minimum, float x_scale, std::int32_t x_sum) {
  const __m512 codes = _mm512_set1_ps(static_cast<float>(x_sum));
  return _mm512_fmadd_ps(minimum, _mm512_mul_ps(_mm512_set1_ps(x_scale), codes), sum);
}

// 16 rows times kTokens tokens.
template <typename Scales, Index kTokens, typename Codes>
HWY_INLINE void multiply_rows(const Codes& codes,
                              const RowPointers& rows,
                              Index num_blocks,
                              const TokenRow* tokens,
                              __m512 (&sums)[kTokens]) {
  constexpr Index kPairBytes = 2 * kPanelRows * Codes::kBlockBytes;
  Scales scales;
  const std::uint8_t* ahead = rows.codes[0] + kAheadBytes;
  for (Index first = 0; first < num_blocks; first += kPanelBlocks) {
    const Index count = HWY_MIN(kPanelBlocks, num_blocks - first);
    scales.gather(rows, first, count);
    for (Index b = 0; b < count; b += 2) {
      const Index block = first + b;
      fetch(ahead, kPairBytes);
      ahead += kPairBytes;
      __m512i products[to_size(kTokens)][kPanelRows];
      for (Index row = 0; row < kPanelRows; ++row) {
        const __m512i w = codes.read(rows.codes[row] + block * Codes::kBlockBytes);
        for (Index t = 0; t < kTokens; ++t) {
          const __m512i x = _mm512_loadu_si512(tokens[t].codes + block * kBlock);
          products[t][row] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, x);
        }
      }
      for (Index t = 0; t < kTokens; ++t) {
        __m512i whole[2];
        fold(products[t], whole[0], whole[1]);
        for (Index half = 0; half < 2; ++half) {
          const float x_scale = tokens[t].scales[block + half];
          const std::int32_t x_sum = tokens[t].sums[block + half];
          const __m512i offset = _mm512_set1_epi32(kCodeOffset * x_sum);
          sums[t] = add_block(sums[t], _mm512_sub_epi32(whole[half], offset),
                              scales.scale(b + half), x_scale);
          if constexpr (Scales::kHasMinimum) {
            sums[t] = add_minimum(sums[t], scales.minimum(b + half), x_scale, x_sum);
          }
        }
      }
    }
  }
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_POP_ATTRIBUTES
HWY_AFTER_NAMESPACE();

#endif  // HWY_AVX3_DL
#endif  // per-target include guard
