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

using RowPointers = const std::uint8_t* [kPanelRows];

// How a format lays out a block: two adjacent ones become a register of 64 codes plus 128, in the
// order of columns.
struct ByteCodes {  // Q8_0
  static constexpr Index kBlockBytes = 34;
  HWY_INLINE explicit ByteCodes(const std::int8_t* /*table*/) {}
  HWY_INLINE __m512i read(const std::uint8_t* bytes) const {
    const __m512i low =
        _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + 2)));
    const __m256i high =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + 2 + kBlockBytes));
    return _mm512_xor_si512(_mm512_inserti64x4(low, high, 1), _mm512_set1_epi8(-128));
  }
};

// Nibbles behind a head of kHead bytes: ggml's (column j low, column j + 16 high) or, kAdjacent,
// two columns a byte.
template <Index kHead, bool kAdjacent>
class NibbleCodes {
 public:
  static constexpr Index kBlockBytes = kHead + 16;

  HWY_INLINE explicit NibbleCodes(const std::int8_t* table) : table_(code_table(table)) {
    alignas(64) std::uint8_t place[64];
    alignas(64) std::uint8_t shift[64];
    for (Index i = 0; i < 64; ++i) {
      const Index column = i % kBlock;
      const bool is_high = kAdjacent ? column % 2 == 1 : column >= 16;
      place[i] = static_cast<std::uint8_t>(i / kBlock * kBlockBytes + kHead +
                                           (kAdjacent ? column / 2 : column % 16));
      shift[i] = static_cast<std::uint8_t>(i % 8 * 8 + (is_high ? 4 : 0));
    }
    place_ = _mm512_load_si512(place);
    shift_ = _mm512_load_si512(shift);
  }

  HWY_INLINE __m512i read(const std::uint8_t* bytes) const {
    constexpr __mmask64 kInside = (__mmask64{1} << (2 * kBlockBytes)) - 1;
    const __m512i packed = _mm512_maskz_loadu_epi8(kInside, bytes);
    const __m512i spread = _mm512_permutexvar_epi8(place_, packed);
    // Bits above the nibble stay: the table repeats every 16 bytes.
    return _mm512_permutexvar_epi8(_mm512_multishift_epi64_epi8(shift_, spread), table_);
  }

 private:
  __m512i table_;
  __m512i place_;
  __m512i shift_;
};

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

// Scales of blocks, [block][row]: gathered for a chunk at once, as they lie apart in memory.
template <typename T>
using ScaleChunk = T[kPanelBlocks][kPanelRows];

// The scales of a format. `gather` also is the first to touch the chunk's memory, and with loads
// that do not wait for each other.
struct F16Scales {
  static constexpr bool kHasMinimum = false;
  ScaleChunk<std::uint16_t> halves;

  HWY_INLINE void gather(const RowPointers& rows, Index block, Index count, Index stride) {
    for (Index b = 0; b < count; ++b) {
      for (Index row = 0; row < kPanelRows; ++row) {
        std::memcpy(&halves[b][row], rows[row] + (block + b) * stride, 2);
      }
    }
  }
  HWY_INLINE __m512 scale(Index block) const {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves[block])));
  }
  HWY_INLINE __m512 minimum(Index /*block*/) const { return _mm512_setzero_ps(); }
};

struct F16ScalesAndMinima {
  static constexpr bool kHasMinimum = true;
  ScaleChunk<std::uint32_t> pairs;

  HWY_INLINE void gather(const RowPointers& rows, Index block, Index count, Index stride) {
    for (Index b = 0; b < count; ++b) {
      for (Index row = 0; row < kPanelRows; ++row) {
        std::memcpy(&pairs[b][row], rows[row] + (block + b) * stride, 4);
      }
    }
  }
  HWY_INLINE __m512 scale(Index block) const {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_loadu_si512(pairs[block])));
  }
  HWY_INLINE __m512 minimum(Index block) const {
    return _mm512_cvtph_ps(
        _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_loadu_si512(pairs[block]), 16)));
  }
};

struct E8m0Scales {
  static constexpr bool kHasMinimum = false;
  ScaleChunk<std::uint32_t> exponents;

  HWY_INLINE void gather(const RowPointers& rows, Index block, Index count, Index stride) {
    for (Index b = 0; b < count; ++b) {
      for (Index row = 0; row < kPanelRows; ++row) {
        exponents[b][row] = rows[row][(block + b) * stride];
      }
    }
  }
  HWY_INLINE __m512 scale(Index block) const {
    return half_of_e8m0(_mm512_loadu_si512(exponents[block]));
  }
  HWY_INLINE __m512 minimum(Index /*block*/) const { return _mm512_setzero_ps(); }
};

// sum += one block's integer sums, scaled: the arithmetic of both kernel shapes.
HWY_INLINE __m512 add_block(__m512 sum, __m512i whole, __m512 weight_scale, float x_scale) {
  const __m512 scale = _mm512_mul_ps(weight_scale, _mm512_set1_ps(x_scale));
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, sum);
}
HWY_INLINE __m512 add_minimum(__m512 sum, __m512 minimum, float x_scale, std::int32_t x_sum) {
  const __m512 codes = _mm512_set1_ps(static_cast<float>(x_sum));
  return _mm512_fmadd_ps(minimum, _mm512_mul_ps(_mm512_set1_ps(x_scale), codes), sum);
}

// 16 rows times kTokens tokens. `scale_rows` and `scale_stride`: where the scale of a row's block 0
// is, and how far the next.
template <typename Codes, typename Scales, Index kTokens>
HWY_INLINE void multiply_rows(const Codes& codes,
                              const RowPointers& rows,
                              const RowPointers& scale_rows,
                              Index scale_stride,
                              Index num_blocks,
                              const TokenRow* tokens,
                              __m512 (&sums)[kTokens]) {
  Scales scales;
  const std::uint8_t* ahead = rows[0] + kAheadBytes;
  for (Index first = 0; first < num_blocks; first += kPanelBlocks) {
    const Index count = HWY_MIN(kPanelBlocks, num_blocks - first);
    scales.gather(scale_rows, first, count, scale_stride);
    for (Index b = 0; b < count; b += 2) {
      const Index block = first + b;
      fetch(ahead, 2 * kPanelRows * Codes::kBlockBytes);
      ahead += 2 * kPanelRows * Codes::kBlockBytes;
      __m512i products[to_size(kTokens)][kPanelRows];
      for (Index row = 0; row < kPanelRows; ++row) {
        const __m512i w = codes.read(rows[row] + block * Codes::kBlockBytes);
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
