// BF16 numbers that codes of 8 bits stand for, looked up in registers: AVX-512 with VBMI, so for
// the target AVX3_DL alone. The two bytes of all 128 magnitudes fit four registers.
#if defined(FATHOM_CPU_BYTE_TABLES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_BYTE_TABLES_INL_H_
#undef FATHOM_CPU_BYTE_TABLES_INL_H_
#else
#define FATHOM_CPU_BYTE_TABLES_INL_H_
#endif

#include <array>

#include "fathom/compute/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
#if HWY_TARGET == HWY_AVX3_DL
namespace fathom::cpu::HWY_NAMESPACE {

using Magnitudes = std::array<std::uint16_t, 128>;

// The lower and the upper bytes of 64 BF16 numbers.
struct Bf16Bytes {
  __m512i lower;
  __m512i upper;

  // Of each quarter of the registers, the first eight numbers, and the last.
  HWY_INLINE __m512i first() const { return _mm512_unpacklo_epi8(lower, upper); }
  HWY_INLINE __m512i last() const { return _mm512_unpackhi_epi8(lower, upper); }
};

class MagnitudeTable {
 public:
  // 128 BF16 numbers.
  HWY_INLINE void set(const __m512i (&numbers)[4]) {
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

  // `magnitudes` are looked up without their highest bits; those of `signs` are the numbers'.
  HWY_INLINE Bf16Bytes look_up(__m512i magnitudes, __m512i signs) const {
    const __m512i upper = _mm512_permutex2var_epi8(upper_[0], magnitudes, upper_[1]);
    return {
        _mm512_permutex2var_epi8(lower_[0], magnitudes, lower_[1]),
        // signs & 0x80 | upper
        _mm512_ternarylogic_epi64(signs, _mm512_set1_epi8(static_cast<char>(0x80)), upper, 0xea)};
  }

 private:
  __m512i lower_[2];
  __m512i upper_[2];
};

// The upper halves of the fp32 numbers that magnitudes of E4M3 are.
constexpr Magnitudes e4m3_magnitudes() {
  Magnitudes numbers = {};
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
alignas(64) inline constexpr Magnitudes kE4m3Magnitudes = e4m3_magnitudes();

// Groups of four codes in the order in which unpacking bytes, then words, of each quarter of a
// register brings out columns one after another.
alignas(64) inline constexpr std::uint32_t kUnpackedOrder[16] = {0, 4, 8,  12, 1, 5, 9,  13,
                                                                 2, 6, 10, 14, 3, 7, 11, 15};

// All E4M3 numbers times a power of two, by code.
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
    table_.set(numbers);
  }

  HWY_INLINE Bf16Bytes look_up(__m512i codes) const { return table_.look_up(codes, codes); }

  // 64 codes as four registers of fp32 numbers.
  HWY_INLINE void decode(const std::uint8_t* from, V (&numbers)[4]) const {
    const __m512i codes =
        _mm512_permutexvar_epi32(_mm512_load_si512(kUnpackedOrder), _mm512_loadu_si512(from));
    const Bf16Bytes bytes = look_up(codes);
    const __m512i zero = _mm512_setzero_si512();
    numbers[0].raw = _mm512_castsi512_ps(_mm512_unpacklo_epi16(zero, bytes.first()));
    numbers[1].raw = _mm512_castsi512_ps(_mm512_unpackhi_epi16(zero, bytes.first()));
    numbers[2].raw = _mm512_castsi512_ps(_mm512_unpacklo_epi16(zero, bytes.last()));
    numbers[3].raw = _mm512_castsi512_ps(_mm512_unpackhi_epi16(zero, bytes.last()));
  }

 private:
  MagnitudeTable table_;
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

}  // namespace fathom::cpu::HWY_NAMESPACE
#endif  // HWY_TARGET == HWY_AVX3_DL
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
