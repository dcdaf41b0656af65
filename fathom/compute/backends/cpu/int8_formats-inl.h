// How weight formats lay out int8 blocks, read for 16 rows at a time.
//
// The two kernel shapes of int8 products, panels and rows, differ in what they do with the codes;
// what a format looks like is here alone.
#if defined(FATHOM_CPU_INT8_FORMATS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_INT8_FORMATS_INL_H_
#undef FATHOM_CPU_INT8_FORMATS_INL_H_
#else
#define FATHOM_CPU_INT8_FORMATS_INL_H_
#endif

#include <array>
#include <cstring>
#include <type_traits>

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

// How far ahead memory is fetched: 16 rows read in turn are too many streams for the hardware's own
// prefetching, but together they are one long sweep. Found by measurement.
inline constexpr Index kAheadBytes = 32 * 1024;
HWY_INLINE void fetch(const std::uint8_t* from, Index num_bytes) {
  constexpr Index kLineBytes = 64;
  for (Index line = 0; line < num_bytes; line += kLineBytes) {
    hwy::Prefetch(from + line);
  }
}

#if HWY_TARGET == HWY_AVX3_DL

// 16 rows of a weight: where each begins, and where the scale of its block 0 is.
struct RowPointers {
  const std::uint8_t* codes[kPanelRows];
  const std::uint8_t* scales[kPanelRows];
  Index scale_stride;
};

// Rows from first_row on; behind the last row it is repeated.
HWY_INLINE RowPointers row_pointers(const numeric::WeightView& weight, Index first_row) {
  RowPointers rows;
  const auto* codes = reinterpret_cast<const std::uint8_t*>(weight.data);
  const auto* scales = reinterpret_cast<const std::uint8_t*>(weight.scales);
  for (Index lane = 0; lane < kPanelRows; ++lane) {
    const Index row = HWY_MIN(first_row + lane, weight.rows - 1);
    rows.codes[lane] = codes + row * weight.row_stride_bytes;
    rows.scales[lane] = scales == nullptr
                            ? rows.codes[lane]
                            : scales + (weight.first_row + row) * weight.scale_row_stride_bytes;
  }
  rows.scale_stride = scales == nullptr ? numeric::row_bytes(weight.format, kBlock) : 1;
  return rows;
}

// Two adjacent blocks of a row as a register of 64 codes plus 128, in the order of columns.
struct ByteCodes {  // Q8_0
  static constexpr Index kBlockBytes = 34;
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

  HWY_INLINE explicit NibbleCodes(const std::array<std::int8_t, 16>& table)
      : table_(_mm512_xor_si512(
            _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table.data()))),
            _mm512_set1_epi8(-128))),
        place_(_mm512_load_si512(kMap.place)),
        shift_(_mm512_load_si512(kMap.shift)) {}

  HWY_INLINE __m512i read(const std::uint8_t* bytes) const {
    constexpr __mmask64 kInside = (__mmask64{1} << (2 * kBlockBytes)) - 1;
    const __m512i packed = _mm512_maskz_loadu_epi8(kInside, bytes);
    const __m512i spread = _mm512_permutexvar_epi8(place_, packed);
    // Bits above the nibble stay: the table repeats every 16 bytes.
    return _mm512_permutexvar_epi8(_mm512_multishift_epi64_epi8(shift_, spread), table_);
  }

 private:
  // Which byte holds a column, and where in its eight bytes its nibble begins.
  struct Map {
    alignas(64) std::uint8_t place[64] = {};
    alignas(64) std::uint8_t shift[64] = {};
  };
  static constexpr Map make_map() {
    Map map;
    for (Index i = 0; i < 64; ++i) {
      const Index column = i % kBlock;
      const bool is_high = kAdjacent ? column % 2 == 1 : column >= 16;
      map.place[i] = static_cast<std::uint8_t>(i / kBlock * kBlockBytes + kHead +
                                               (kAdjacent ? column / 2 : column % 16));
      map.shift[i] = static_cast<std::uint8_t>(i % 8 * 8 + (is_high ? 4 : 0));
    }
    return map;
  }
  static constexpr Map kMap = make_map();

  __m512i table_;
  __m512i place_;
  __m512i shift_;
};

// Scales of up to kPanelBlocks blocks of 16 rows, gathered at once as they lie apart in memory:
// loads that do not wait for each other are also the first to touch the blocks.
template <typename Raw, typename Kept>
struct ScaleChunk {
  Kept kept[kPanelBlocks][kPanelRows];

  HWY_INLINE void gather(const RowPointers& rows, Index first_block, Index num_blocks) {
    for (Index b = 0; b < num_blocks; ++b) {
      for (Index row = 0; row < kPanelRows; ++row) {
        Raw raw;
        std::memcpy(&raw, rows.scales[row] + (first_block + b) * rows.scale_stride, sizeof(raw));
        kept[b][row] = raw;
      }
    }
  }
};

struct F16Scales : ScaleChunk<std::uint16_t, std::uint16_t> {
  static constexpr bool kHasMinimum = false;
  HWY_INLINE __m512 scale(Index block) const {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(kept[block])));
  }
};

struct F16ScalesAndMinima : ScaleChunk<std::uint32_t, std::uint32_t> {
  static constexpr bool kHasMinimum = true;
  HWY_INLINE __m512 scale(Index block) const {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_loadu_si512(kept[block])));
  }
  HWY_INLINE __m512 minimum(Index block) const {
    return _mm512_cvtph_ps(
        _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_loadu_si512(kept[block]), 16)));
  }
};

// Half of 2^(code - 127), as numeric::mxfp4_half_scale.
HWY_INLINE __m512 half_of_e8m0(__m512i wide) {
  const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(wide, _mm512_set1_epi32(1)), 23);
  const __m512i tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), wide);
  const __mmask16 is_tiny = _mm512_cmplt_epu32_mask(wide, _mm512_set1_epi32(2));
  return _mm512_castsi512_ps(_mm512_mask_mov_epi32(normal, is_tiny, tiny));
}

struct E8m0Scales : ScaleChunk<std::uint8_t, std::uint32_t> {
  static constexpr bool kHasMinimum = false;
  HWY_INLINE __m512 scale(Index block) const {
    return half_of_e8m0(_mm512_loadu_si512(kept[block]));
  }
};

// Calls body(codes, std::type_identity<Scales>()) for the formats that models are mostly stored in;
// false for others.
template <typename Body>
HWY_INLINE bool with_block_format(const numeric::WeightView& weight, const Body& body) {
  using numeric::WeightFormat;
  constexpr std::type_identity<F16Scales> kF16;
  constexpr std::type_identity<F16ScalesAndMinima> kF16AndMinima;
  constexpr std::type_identity<E8m0Scales> kE8m0;
  switch (weight.format) {
    case WeightFormat::Q8_0:
      body(ByteCodes(), kF16);
      return true;
    case WeightFormat::Q4_0:
      body(NibbleCodes<2, false>(numeric::kCodesFromMinusEight), kF16);
      return true;
    case WeightFormat::Q4_1:
      body(NibbleCodes<4, false>(numeric::kCodesFromZero), kF16AndMinima);
      return true;
    case WeightFormat::IQ4_NL:
      body(NibbleCodes<2, false>(numeric::kIq4Codes), kF16);
      return true;
    case WeightFormat::Mxfp4:
      body(NibbleCodes<1, false>(numeric::kTwiceE2m1Codes), kE8m0);
      return true;
    case WeightFormat::Fp4:
      if (weight.scale_format != numeric::ScaleFormat::E8M0) {
        return false;
      }
      body(NibbleCodes<0, true>(numeric::kTwiceE2m1Codes), kE8m0);
      return true;
    default:
      return false;
  }
}

#endif  // HWY_AVX3_DL

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
