// Rows of E4M3 codes times a few tokens, which wait for memory: AVX-512 with VBMI, so for the
// target AVX3_DL alone.
//
// Scales are powers of two, so a weight is a BF16 number, and the two bytes of all 128 magnitudes
// fit four registers. Sums are those of linear.cc, in the same order.
#if defined(FATHOM_CPU_E4M3_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_E4M3_ROWS_INL_H_
#undef FATHOM_CPU_E4M3_ROWS_INL_H_
#else
#define FATHOM_CPU_E4M3_ROWS_INL_H_
#endif

#include <array>

#include <hwy/cache_control.h>

#include "fathom/compute/backends/cpu/decode-inl.h"
#include "fathom/compute/backends/cpu/simd-inl.h"
#include "fathom/compute/ops/scalar_rows.h"

HWY_BEFORE_NAMESPACE();
#if HWY_TARGET == HWY_AVX3_DL
namespace fathom::cpu::HWY_NAMESPACE {

inline constexpr Index kMostE4m3Tokens = 4;

// The upper halves of the fp32 numbers that magnitudes of E4M3 are.
constexpr std::array<std::uint16_t, 128> e4m3_magnitudes() {
  std::array<std::uint16_t, 128> numbers = {};
  for (unsigned code = 1; code < 127; ++code) {
    unsigned exponent = 120 + code / 8;
    unsigned mantissa = code % 8;
    if (code < 8) {  // subnormal: mantissa times 2^-9
      exponent = 121;
      for (; mantissa < 8; mantissa *= 2) {
        --exponent;
      }
      mantissa %= 8;
    }
    numbers[code] = static_cast<std::uint16_t>(exponent << 7 | mantissa << 4);
  }
  numbers[127] = 0x7fc0;  // the only NaN
  return numbers;
}
alignas(64) inline constexpr std::array<std::uint16_t, 128> kE4m3Magnitudes = e4m3_magnitudes();

// Groups of four codes in the order in which unpacking bytes, then words, of each quarter of a
// register brings out columns one after another.
alignas(64) inline constexpr std::uint32_t kUnpackedOrder[16] = {0, 4, 8,  12, 1, 5, 9,  13,
                                                                 2, 6, 10, 14, 3, 7, 11, 15};

// All E4M3 numbers times a power of two, by code: the two bytes of their upper halves.
class E4m3Table {
 public:
  HWY_INLINE void set(int scale_code) {
    const __m512i step =
        _mm512_set1_epi16(static_cast<std::int16_t>((scale_code - 127) * (1 << 7)));
    __m512i numbers[4];
    for (std::size_t i = 0; i < 4; ++i) {
      // Neither zero nor NaN has an exponent to be changed.
      const __mmask32 changed = i == 0 ? 0xfffffffeU : i == 3 ? 0x7fffffffU : 0xffffffffU;
      const __m512i magnitudes = _mm512_load_si512(kE4m3Magnitudes.data() + 32 * i);
      numbers[i] = _mm512_mask_add_epi16(magnitudes, changed, magnitudes, step);
    }
    alignas(64) std::uint8_t even[64];
    for (std::size_t i = 0; i < 64; ++i) {
      even[i] = static_cast<std::uint8_t>(2 * i);
    }
    const __m512i lower = _mm512_load_si512(even);
    const __m512i upper = _mm512_add_epi8(lower, _mm512_set1_epi8(1));
    for (std::size_t i = 0; i < 2; ++i) {
      lower_[i] = _mm512_permutex2var_epi8(numbers[2 * i], lower, numbers[2 * i + 1]);
      upper_[i] = _mm512_permutex2var_epi8(numbers[2 * i], upper, numbers[2 * i + 1]);
    }
  }

  // 64 codes as four registers of numbers.
  HWY_INLINE void decode(const std::uint8_t* from, V (&numbers)[4]) const {
    const __m512i codes =
        _mm512_permutexvar_epi32(_mm512_load_si512(kUnpackedOrder), _mm512_loadu_si512(from));
    // The sign is the index's highest bit, which is not looked at.
    const __m512i lower = _mm512_permutex2var_epi8(lower_[0], codes, lower_[1]);
    const __m512i magnitude = _mm512_permutex2var_epi8(upper_[0], codes, upper_[1]);
    const __m512i upper =  // codes & 0x80 | magnitude
        _mm512_ternarylogic_epi64(codes, _mm512_set1_epi8(static_cast<char>(0x80)), magnitude,
                                  0xea);
    const __m512i zero = _mm512_setzero_si512();
    const __m512i low = _mm512_unpacklo_epi8(lower, upper);
    const __m512i high = _mm512_unpackhi_epi8(lower, upper);
    numbers[0].raw = _mm512_castsi512_ps(_mm512_unpacklo_epi16(zero, low));
    numbers[1].raw = _mm512_castsi512_ps(_mm512_unpackhi_epi16(zero, low));
    numbers[2].raw = _mm512_castsi512_ps(_mm512_unpacklo_epi16(zero, high));
    numbers[3].raw = _mm512_castsi512_ps(_mm512_unpackhi_epi16(zero, high));
  }

 private:
  __m512i lower_[2];
  __m512i upper_[2];
};

// Tables of the latest scales: a matrix has few different ones.
class E4m3Tables {
 public:
  // Of a plain scale (is_plain_fp8_scale).
  HWY_INLINE const E4m3Table& of(int scale_code) {
    const auto idx = static_cast<std::size_t>(scale_code) % kCount;
    if (scale_codes_[idx] != scale_code) [[unlikely]] {
      scale_codes_[idx] = scale_code;
      tables_[idx].set(scale_code);
    }
    return tables_[idx];
  }

 private:
  static constexpr std::size_t kCount = 8;
  E4m3Table tables_[kCount];
  int scale_codes_[kCount] = {};  // 0 is not plain
};

// Whether multiply_e4m3_rows() can do it.
inline bool has_e4m3_rows(const numeric::WeightView& weight) {
  return weight.format == numeric::WeightFormat::Fp8 &&
         weight.layout == numeric::WeightLayout::Rows &&
         weight.scale_format != numeric::ScaleFormat::F32 &&
         weight.columns % numeric::kFp8TileColumns == 0;
}

// One row times kTokens tokens: read from end to end, as processors expect.
template <Index kTokens>
HWY_INLINE void multiply_e4m3_row(const numeric::WeightView& weight,
                                  Index row,
                                  const float* const* x,
                                  E4m3Tables& tables,
                                  LaneSet (&sums)[to_size(kTokens)]) {
  constexpr Index kStep = 64;
  constexpr Index kAheadBytes = 4096;  // as measurement found best
  const std::uint8_t* codes = bytes_at(weight, row, 0);
  for (Index t = 0; t < kTokens; ++t) {
    sums[t] = zero_lanes();
  }
  const auto add = [&](V numbers, Index first) HWY_ATTR {
    for (Index t = 0; t < kTokens; ++t) {
      sums[t].v[0] = hn::MulAdd(numbers, hn::LoadU(D(), x[t] + first), sums[t].v[0]);
    }
  };
  for (Index first = 0; first < weight.columns; first += numeric::kFp8TileColumns) {
    const int scale = fp8_scale_code(weight, row, first);
    if (is_plain_fp8_scale(scale)) [[likely]] {
      const E4m3Table table = tables.of(scale);
      for (Index at = first; at < first + numeric::kFp8TileColumns; at += kStep) {
        hwy::Prefetch(codes + at + kAheadBytes);
        V numbers[4];
        table.decode(codes + at, numbers);
        for (Index part = 0; part < 4; ++part) {
          add(numbers[part], at + part * kWidth);
        }
      }
    } else {
      HWY_ALIGN float decoded[numeric::kFp8TileColumns];
      numeric::decode_row(weight, row, first, numeric::kFp8TileColumns, decoded);
      for (Index at = 0; at < numeric::kFp8TileColumns; at += kWidth) {
        add(hn::Load(D(), decoded + at), first + at);
      }
    }
  }
}

// Rows [first_row, end_row) times at most kTokens tokens; the last stands in for those that lack.
template <Index kTokens>
void multiply_e4m3_rows(const numeric::WeightView& weight,
                        Index first_row,
                        Index end_row,
                        const float* const* given,
                        Index num_tokens,
                        ops::Rounding rounding,
                        float* const* out) {
  const float* x[to_size(kTokens)];
  for (Index t = 0; t < kTokens; ++t) {
    x[t] = given[std::min(t, num_tokens - 1)];
  }
  E4m3Tables tables;
  LaneSet sums[to_size(kTokens)];
  for (Index row = first_row; row < end_row; ++row) {
    multiply_e4m3_row<kTokens>(weight, row, x, tables, sums);
    for (Index t = 0; t < num_tokens; ++t) {
      const float sum = sum_lanes(sums[t]);
      out[t][row] = ops::rounded(sum, rounding);
    }
  }
}

}  // namespace fathom::cpu::HWY_NAMESPACE
#endif  // HWY_TARGET == HWY_AVX3_DL
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
