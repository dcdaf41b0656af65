// Numbers as sums of BF16 numbers, for the units that multiply only those; AVX-512 with VBMI and
// BF16 conversions, so for the target AVX3_DL alone.
//
// A number of p significant bits is a sum of ceil(p / 8) BF16 numbers, each the rest rounded to
// nearest: one for FP4, MXFP4, FP8 and BF16 weights, whose scales are powers of two, two for F16,
// three for fp32 and everything that is decoded to fp32. Parts below 2^-126 are flushed to zero, by
// the conversion and by the units themselves.
#if defined(FATHOM_CPU_BF16_PARTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_BF16_PARTS_INL_H_
#undef FATHOM_CPU_BF16_PARTS_INL_H_
#else
#define FATHOM_CPU_BF16_PARTS_INL_H_
#endif

#include "fathom/compute/backends/cpu/decode-inl.h"
#include "fathom/compute/backends/cpu/simd-inl.h"

#if HWY_TARGET == HWY_AVX3_DL
FATHOM_BEFORE_NAMESPACE_WITH("avx512bf16");
namespace fathom::cpu::HWY_NAMESPACE {

// Columns that are decoded and multiplied together: 64 bytes of BF16.
inline constexpr Index kPartColumns = 32;
inline constexpr int kMostParts = 3;

// How many BF16 numbers a weight is the sum of.
inline int parts_of(const numeric::WeightView& weight) {
  using numeric::WeightFormat;
  switch (weight.format) {
    case WeightFormat::BF16:
    case WeightFormat::Mxfp4:
      return weight.layout == numeric::WeightLayout::Rows ? 1 : kMostParts;
    case WeightFormat::Fp8:
    case WeightFormat::Fp4:
      return weight.layout == numeric::WeightLayout::Rows &&
                     weight.scale_format != numeric::ScaleFormat::F32
                 ? 1
                 : kMostParts;
    case WeightFormat::F16:
      return 2;
    default:
      return kMostParts;
  }
}

HWY_INLINE __m512i to_bf16(V low, V high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high.raw, low.raw));
}
HWY_INLINE V low_half(__m512i bf16) {
  return V{_mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(bf16)), 16))};
}
HWY_INLINE V high_half(__m512i bf16) {
  return V{_mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(bf16, 1)), 16))};
}

// Whether no number is infinite or NaN.
HWY_INLINE bool is_finite(__m512i bf16) {
  return _mm512_cmpge_epu16_mask(_mm512_slli_epi16(bf16, 1),
                                 _mm512_set1_epi16(static_cast<std::int16_t>(0xff00))) == 0;
}

// 32 numbers as kParts parts, part i at out + i * stride. Returns whether all are finite and the
// first part is (the largest fp32 numbers round to infinity); if not, the other parts are NaN.
template <int kParts>
HWY_INLINE bool split(V low, V high, std::uint16_t* out, Index stride) {
  const __m512i first = to_bf16(low, high);
  _mm512_storeu_si512(out, first);
  __m512i part = first;
  for (Index i = 1; i < kParts; ++i) {
    low = hn::Sub(low, low_half(part));
    high = hn::Sub(high, high_half(part));
    part = to_bf16(low, high);
    _mm512_storeu_si512(out + i * stride, part);
  }
  return is_finite(first);
}

// 16 rows of 16 numbers of 32 bits, transposed.
HWY_INLINE void transpose(__m512i* rows) {
  __m512i pairs[16];
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  __m512i quads[16];  // of rows 4 i to 4 i + 3: column c of every block of four
  for (int i = 0; i < 16; i += 4) {
    quads[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    quads[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    quads[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    quads[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  for (int c = 0; c < 4; ++c) {
    const __m512i low_even = _mm512_shuffle_i32x4(quads[c], quads[4 + c], 0x88);
    const __m512i low_odd = _mm512_shuffle_i32x4(quads[c], quads[4 + c], 0xdd);
    const __m512i high_even = _mm512_shuffle_i32x4(quads[8 + c], quads[12 + c], 0x88);
    const __m512i high_odd = _mm512_shuffle_i32x4(quads[8 + c], quads[12 + c], 0xdd);
    rows[c] = _mm512_shuffle_i32x4(low_even, high_even, 0x88);
    rows[8 + c] = _mm512_shuffle_i32x4(low_even, high_even, 0xdd);
    rows[4 + c] = _mm512_shuffle_i32x4(low_odd, high_odd, 0x88);
    rows[12 + c] = _mm512_shuffle_i32x4(low_odd, high_odd, 0xdd);
  }
}

// Bits that multiply a BF16 number by 2^(code - 127) when added to it as an integer, twice.
HWY_INLINE __m512i exponent_step(int code) {
  const auto step = static_cast<std::uint32_t>(code - 127) << 7 & 0xffffU;
  return _mm512_set1_epi32(static_cast<std::int32_t>(step << 16 | step));
}

// Where 32 nibbles lie in 16 bytes: the byte and the shift of every column.
struct NibbleOrder {
  alignas(64) std::uint8_t bytes[64];
  alignas(64) std::uint16_t shifts[32];
};
constexpr NibbleOrder nibble_order(bool is_adjacent) {
  NibbleOrder order = {};
  for (std::size_t column = 0; column < 32; ++column) {
    const std::size_t byte = is_adjacent ? column / 2 : column % 16;
    order.bytes[2 * column] = static_cast<std::uint8_t>(byte);
    order.bytes[2 * column + 1] = static_cast<std::uint8_t>(byte);
    order.shifts[column] = (is_adjacent ? column % 2 : column / 16) != 0 ? 4 : 0;
  }
  return order;
}
inline constexpr NibbleOrder kAdjacentNibbles = nibble_order(true);
inline constexpr NibbleOrder kHalvedNibbles = nibble_order(false);

// E2M1 as BF16 by code, twice, so that a fifth bit does not matter.
alignas(64) inline constexpr std::uint16_t kE2m1Bf16[32] = {
    0x0000, 0x3f00, 0x3f80, 0x3fc0, 0x4000, 0x4040, 0x4080, 0x40c0, 0x8000, 0xbf00, 0xbf80,
    0xbfc0, 0xc000, 0xc040, 0xc080, 0xc0c0, 0x0000, 0x3f00, 0x3f80, 0x3fc0, 0x4000, 0x4040,
    0x4080, 0x40c0, 0x8000, 0xbf00, 0xbf80, 0xbfc0, 0xc000, 0xc040, 0xc080, 0xc0c0};
inline constexpr __mmask32 kNonZeroE2m1 = 0xfefefefeU;

// Scales of FP4 with which no product leaves the normal BF16 numbers.
inline constexpr int kLeastPlainFp4Scale = 2;
inline constexpr int kMostPlainFp4Scale = 252;
HWY_INLINE bool is_plain_fp4_scale(int code) {
  return code >= kLeastPlainFp4Scale && code <= kMostPlainFp4Scale;
}

HWY_INLINE __m512i decode_fp4(const std::uint8_t* from, int scale_code, const NibbleOrder& order) {
  const __m512i table = _mm512_load_si512(kE2m1Bf16);
  const __m512i scaled =
      _mm512_mask_add_epi16(table, kNonZeroE2m1, table, exponent_step(scale_code));
  const __m512i bytes =
      _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  const __m512i spread = _mm512_permutexvar_epi8(_mm512_load_si512(order.bytes), bytes);
  const __m512i codes = _mm512_srlv_epi16(spread, _mm512_load_si512(order.shifts));
  return _mm512_permutexvar_epi16(codes, scaled);
}

// E4M3 subnormal numbers as BF16 by their three bits of mantissa.
alignas(64) inline constexpr std::uint16_t kE4m3Subnormals[32] = {0x0000, 0x3b00, 0x3b80, 0x3bc0,
                                                                  0x3c00, 0x3c20, 0x3c40, 0x3c60};

// 32 E4M3 codes times 2^(scale_code - 127); codes that are NaN give NaN.
HWY_INLINE __m512i decode_e4m3(__m256i from, int scale_code) {
  const __m512i step = exponent_step(scale_code);
  const __m512i codes = _mm512_cvtepu8_epi16(from);
  const __m512i magnitude = _mm512_and_si512(_mm512_slli_epi16(codes, 4), _mm512_set1_epi16(0x7f0));
  const __m512i normal = _mm512_add_epi16(
      magnitude, _mm512_add_epi16(step, _mm512_set1_epi16(static_cast<std::int16_t>(120 << 7))));
  const __m512i subnormals = _mm512_mask_add_epi16(_mm512_load_si512(kE4m3Subnormals), 0xfe,
                                                   _mm512_load_si512(kE4m3Subnormals), step);
  const __mmask32 is_subnormal = _mm512_testn_epi16_mask(codes, _mm512_set1_epi16(0x78));
  const __m512i number = _mm512_mask_permutexvar_epi16(normal, is_subnormal, codes, subnormals);
  const __mmask32 is_nan = _mm512_cmpeq_epi16_mask(magnitude, _mm512_set1_epi16(0x7f0));
  const __m512i checked = _mm512_mask_mov_epi16(number, is_nan, _mm512_set1_epi16(0x7fc0));
  // (codes << 8) & 0x8000 | checked
  return _mm512_ternarylogic_epi64(_mm512_slli_epi16(codes, 8),
                                   _mm512_set1_epi16(static_cast<std::int16_t>(0x8000)), checked,
                                   0xea);
}

HWY_INLINE __mmask32 first_columns(Index count) {
  return static_cast<__mmask32>((std::uint64_t{1} << HWY_MIN(count, kPartColumns)) - 1);
}

// Up to 32 columns from `first` on, as numeric::decode_row has them; zeros behind `count`.
template <int kParts>
HWY_INLINE bool split_decoded(const float* numbers, Index count, std::uint16_t* out, Index stride) {
  if (count >= kPartColumns) {
    return split<kParts>(hn::LoadU(D(), numbers), hn::LoadU(D(), numbers + kWidth), out, stride);
  }
  HWY_ALIGN float padded[kPartColumns] = {};
  std::copy_n(numbers, count, padded);
  return split<kParts>(hn::Load(D(), padded), hn::Load(D(), padded + kWidth), out, stride);
}

// The same of numbers that are BF16 numbers but for those below 2^-126; for scales of which there
// is one in a million.
inline bool decode_rare(
    const numeric::WeightView& view, Index row, Index first, Index count, std::uint16_t* out) {
  float numbers[kPartColumns];
  numeric::decode_row(view, row, first, count, numbers);
  return split_decoded<1>(numbers, count, out, 0);
}

// 32 columns of a format of one part.
HWY_INLINE bool decode_part(
    const numeric::WeightView& view, Index row, Index first, Index count, std::uint16_t* out) {
  using numeric::WeightFormat;
  switch (view.format) {
    case WeightFormat::BF16: {
      const __m512i numbers =
          _mm512_maskz_loadu_epi16(first_columns(count), bytes_at(view, row, 2 * first));
      _mm512_storeu_si512(out, numbers);
      return is_finite(numbers);
    }
    case WeightFormat::Fp8: {
      const int scale = fp8_scale_code(view, row, first);
      if (!is_plain_fp8_scale(scale)) {
        return decode_rare(view, row, first, count, out);
      }
      const __m256i codes =
          _mm256_maskz_loadu_epi8(first_columns(count), bytes_at(view, row, first));
      _mm512_storeu_si512(out, decode_e4m3(codes, scale));
      return true;
    }
    case WeightFormat::Fp4: {
      const int scale =
          scale_code_at(view, view.first_row + row, first / numeric::kFp4ScaleColumns);
      if (!is_plain_fp4_scale(scale)) {
        return decode_rare(view, row, first, count, out);
      }
      _mm512_storeu_si512(out, decode_fp4(bytes_at(view, row, first / 2), scale, kAdjacentNibbles));
      return true;
    }
    default: {  // MXFP4
      const std::uint8_t* block = bytes_at(view, row, first / 32 * 17);
      if (!is_plain_fp4_scale(block[0])) {
        return decode_rare(view, row, first, count, out);
      }
      _mm512_storeu_si512(out, decode_fp4(block + 1, block[0], kHalvedNibbles));
      return true;
    }
  }
}

HWY_INLINE bool decode_f16(const std::uint8_t* from,
                           Index count,
                           std::uint16_t* out,
                           Index stride) {
  const __m512i halves = _mm512_maskz_loadu_epi16(first_columns(count), from);
  return split<2>(V{_mm512_cvtph_ps(_mm512_castsi512_si256(halves))},
                  V{_mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1))}, out, stride);
}

// Columns [first, first + count) of a row as parts_of(view) parts, part i of all of them at
// out + i * stride, with zeros behind the last column up to a multiple of 32. `first` and `count`
// are as in decode_chunk(). Returns whether every number is finite; numbers of formats of one part
// may be NaN all the same.
inline bool decode_parts(const numeric::WeightView& view,
                         Index row,
                         Index first,
                         Index count,
                         std::uint16_t* out,
                         Index stride) {
  bool is_all_finite = true;
  const int parts = parts_of(view);
  if (parts == 1) {
    for (Index at = 0; at < count; at += kPartColumns) {
      is_all_finite &= decode_part(view, row, first + at, count - at, out + at);
    }
    return is_all_finite;
  }
  if (parts == 2) {
    for (Index at = 0; at < count; at += kPartColumns) {
      is_all_finite &=
          decode_f16(bytes_at(view, row, 2 * (first + at)), count - at, out + at, stride);
    }
    return is_all_finite;
  }
  constexpr Index kDecoded = 256;
  HWY_ALIGN float numbers[kDecoded];
  for (Index at = 0; at < count; at += kPartColumns) {
    const Index in_numbers = at % kDecoded;
    if (in_numbers == 0) {
      decode_chunk(view, row, first + at, HWY_MIN(kDecoded, count - at), numbers);
    }
    is_all_finite &= split_decoded<kMostParts>(numbers + in_numbers, count - at, out + at, stride);
  }
  return is_all_finite;
}

// The first part of an fp32 row, as decode_parts() has it. Returns whether it is the whole number
// everywhere; if not, out is not finished.
inline bool decode_if_bf16(
    const numeric::WeightView& view, Index row, Index first, Index count, std::uint16_t* out) {
  const auto* numbers = reinterpret_cast<const float*>(bytes_at(view, row, 4 * first));
  for (Index at = 0; at < count; at += kPartColumns) {
    const __mmask32 mask = first_columns(count - at);
    const V low{_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), numbers + at)};
    const V high{_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), numbers + at + kWidth)};
    const __m512i part = to_bf16(low, high);
    _mm512_storeu_si512(out + at, part);
    const __m512i rest = _mm512_or_si512(_mm512_castps_si512(hn::Sub(low, low_half(part)).raw),
                                         _mm512_castps_si512(hn::Sub(high, high_half(part)).raw));
    if (_mm512_test_epi32_mask(rest, rest) != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#endif  // per-target include guard
