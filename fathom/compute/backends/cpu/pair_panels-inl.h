// Panels of BF16 numbers for products of pairs: 16 rows of weights, whose numbers of two columns
// beside each other stand in one register. For the target AVX3_DL alone.
//
// Codes are turned over while they are bytes, and become numbers by looking them up in registers;
// what is rare is decoded row by row and turned over then.
#if defined(FATHOM_CPU_PAIR_PANELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_PAIR_PANELS_INL_H_
#undef FATHOM_CPU_PAIR_PANELS_INL_H_
#else
#define FATHOM_CPU_PAIR_PANELS_INL_H_
#endif

#include <algorithm>
#include <cstring>

#include "fathom/compute/backends/cpu/bf16_parts-inl.h"
#include "fathom/compute/backends/cpu/byte_tables-inl.h"
#include "fathom/compute/numeric/weight_panels.h"

#if HWY_TARGET == HWY_AVX3_DL
FATHOM_BEFORE_NAMESPACE_WITH("avx512bf16");
namespace fathom::cpu::HWY_NAMESPACE {

inline constexpr Index kVectorRows = 16;
inline constexpr Index kPairNumbers = 2 * kVectorRows;  // of a register

// Codes of 8 bits are BF16 numbers themselves. They are halved seven times, so that no product of
// one and an activation is larger than the activation, and scales doubled as often.
inline constexpr float kCodeStep = 0x1p-7F;

// BF16 numbers of 0 to 127 times kCodeStep.
constexpr Magnitudes code_magnitudes() {
  Magnitudes numbers = {};
  for (unsigned code = 1; code < 128; ++code) {
    unsigned exponent = 127;
    unsigned mantissa = code;  // of eight bits
    for (; mantissa < 128; mantissa *= 2) {
      --exponent;
    }
    numbers[code] = static_cast<std::uint16_t>(exponent << 7 | (mantissa & 127));
  }
  return numbers;
}
alignas(64) inline constexpr Magnitudes kCodeMagnitudes = code_magnitudes();
static_assert(kCodeMagnitudes[64] == 0x3f00 && kCodeMagnitudes[3] == 0x3cc0);

// Whether weights are codes times a scale that pack() gives beside them, not the numbers.
inline bool has_code_scales(const numeric::WeightView& weight) {
  return weight.format == numeric::WeightFormat::Q8_0;
}
inline bool is_in_fp8_panels(const numeric::WeightView& weight) {
  return weight.format == numeric::WeightFormat::Fp8 &&
         weight.layout == numeric::WeightLayout::Panels;
}
inline bool has_pairs(const numeric::WeightView& weight) {
  return (has_code_scales(weight) && weight.layout == numeric::WeightLayout::Rows) ||
         is_in_fp8_panels(weight) || parts_of(weight) == 1;
}

// Where a block of 16 rows begins.
struct BlockRows {
  const std::uint8_t* first;
  Index stride;

  HWY_INLINE const std::uint8_t* row(Index idx) const { return first + idx * stride; }
  HWY_INLINE BlockRows from(Index offset) const { return {first + offset, stride}; }
};

// 16 bytes of 16 rows: quarter q of register i is row 4 q + i's.
struct ByteRows {
  __m512i v[4];

  // load(address) is a row's 16 bytes.
  template <typename Load>
  static HWY_INLINE ByteRows load_with(const BlockRows& rows, const Load& load) {
    ByteRows result;
#pragma GCC unroll 4
    for (Index i = 0; i < 4; ++i) {
      __m512i v = _mm512_castsi128_si512(load(rows.row(i)));
      v = _mm512_inserti32x4(v, load(rows.row(4 + i)), 1);
      v = _mm512_inserti32x4(v, load(rows.row(8 + i)), 2);
      result.v[i] = _mm512_inserti32x4(v, load(rows.row(12 + i)), 3);
    }
    return result;
  }
  static HWY_INLINE ByteRows load(const BlockRows& rows) {
    return load_with(rows, [](const std::uint8_t* from) HWY_ATTR {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    });
  }

  // The first four bytes of all rows, one after another.
  HWY_INLINE __m512i first_bytes() const {
    return _mm512_unpacklo_epi64(_mm512_unpacklo_epi32(v[0], v[1]),
                                 _mm512_unpacklo_epi32(v[2], v[3]));
  }

  // Words of all rows beside each other: those 2 i and 2 i + 1 in register i, the four rows of each
  // quarter for one, then for the other.
  HWY_INLINE ByteRows turned_by_words() const {
    const __m512i low_01 = _mm512_unpacklo_epi16(v[0], v[1]);
    const __m512i high_01 = _mm512_unpackhi_epi16(v[0], v[1]);
    const __m512i low_23 = _mm512_unpacklo_epi16(v[2], v[3]);
    const __m512i high_23 = _mm512_unpackhi_epi16(v[2], v[3]);
    return {{_mm512_unpacklo_epi32(low_01, low_23), _mm512_unpackhi_epi32(low_01, low_23),
             _mm512_unpacklo_epi32(high_01, high_23), _mm512_unpackhi_epi32(high_01, high_23)}};
  }

  // The same of bytes: 4 i to 4 i + 3 in register i.
  HWY_INLINE ByteRows turned_by_bytes() const {
    const __m512i low_01 = _mm512_unpacklo_epi8(v[0], v[1]);
    const __m512i high_01 = _mm512_unpackhi_epi8(v[0], v[1]);
    const __m512i low_23 = _mm512_unpacklo_epi8(v[2], v[3]);
    const __m512i high_23 = _mm512_unpackhi_epi8(v[2], v[3]);
    return {{_mm512_unpacklo_epi16(low_01, low_23), _mm512_unpackhi_epi16(low_01, low_23),
             _mm512_unpacklo_epi16(high_01, high_23), _mm512_unpackhi_epi16(high_01, high_23)}};
  }
};

// Up to 16 rows of a weight that has_pairs(), or of fp32 numbers that all are BF16 numbers.
class PairPacker {
 public:
  // Rows are read in chunks of so many columns.
  static constexpr Index kChunk = 512;

  explicit PairPacker(const numeric::WeightView& weight)
      : weight_(weight), block_bytes_(numeric::row_bytes(weight.format, kPartColumns)) {
    if (has_code_scales(weight)) {
      __m512i numbers[4];
      for (std::size_t i = 0; i < 4; ++i) {
        numbers[i] = _mm512_load_si512(kCodeMagnitudes.data() + 32 * i);
      }
      codes_.set(numbers);
    }
  }

  // Turns to the rows from first_row on, those behind the weight's last as that, and to a chunk of
  // their columns: those from `first` on.
  void set(Index first_row, Index first) {
    first_row_ = first_row;
    has_all_rows_ = first_row + kVectorRows <= weight_.rows;
    if (weight_.format == numeric::WeightFormat::Fp4) {
      set_scales(first / numeric::kFp4ScaleColumns);
    }
  }

  // Up to 32 columns from `first` on: pair i at to + i * stride. Scales of codes go to scales[16],
  // divided by kCodeStep.
  HWY_INLINE void pack(Index first, Index count, std::uint16_t* to, Index stride, float* scales) {
    to_ = to;
    stride_ = stride;
    if (count < kPartColumns || weight_.format == numeric::WeightFormat::F32) {
      return pack_numbers(first, count);
    }
    if (is_in_fp8_panels(weight_)) {
      return pack_fp8_panel(first);
    }
    const Index offset = first / kPartColumns * block_bytes_;
    BlockRows rows = {bytes_at(weight_, first_row_, offset), weight_.row_stride_bytes};
    alignas(64) std::uint8_t copies[kVectorRows * kMostBlockBytes];
    if (!has_all_rows_) [[unlikely]] {
      for (Index i = 0; i < kVectorRows; ++i) {
        std::memcpy(copies + i * kMostBlockBytes, bytes_at(weight_, row_index(i), offset),
                    to_size(block_bytes_));
      }
      rows = {copies, kMostBlockBytes};
    } else {
      // The processor does not see by itself that a row's next chunk is read when those of other
      // rows have been.
      const std::uint8_t* ahead = rows.first + kChunk / kPartColumns * block_bytes_;
      for (Index i = 0; i < kVectorRows; ++i, ahead += rows.stride) {
        fetch_ahead(ahead);
      }
    }
    switch (weight_.format) {
      case numeric::WeightFormat::BF16:
        return pack_bf16(rows);
      case numeric::WeightFormat::Q8_0:
        return pack_q8(rows, scales);
      case numeric::WeightFormat::Fp8:
        return pack_fp8(rows, first);
      case numeric::WeightFormat::Fp4:
        return pack_fp4(rows, first);
      default:
        return pack_mxfp4(rows, first);
    }
  }

 private:
  static constexpr Index kMostBlockBytes = 64;  // of 32 BF16 numbers
  static constexpr Index kFp4ChunkBlocks = kChunk / numeric::kFp4ScaleColumns;
  static_assert(kFp4ChunkBlocks == 16);

  HWY_INLINE Index row_index(Index idx) const {
    return std::min(first_row_ + idx, weight_.rows - 1);
  }

  // Pairs `pair` and `pair + 1` from what ByteRows turned, as bytes of numbers.
  HWY_INLINE void put(Index pair, __m512i first, __m512i second) {
    _mm512_storeu_si512(to_ + pair * stride_, first);
    _mm512_storeu_si512(to_ + (pair + 1) * stride_, second);
  }

  // All pairs from 16 rows of numbers.
  HWY_INLINE void put_turned(__m512i* numbers) {
    transpose(numbers);
#pragma GCC unroll 16
    for (Index pair = 0; pair < kPartColumns / 2; ++pair) {
      _mm512_storeu_si512(to_ + pair * stride_, numbers[pair]);
    }
  }

  HWY_INLINE void pack_bf16(const BlockRows& rows) {
    __m512i numbers[kVectorRows];
#pragma GCC unroll 16
    for (Index i = 0; i < kVectorRows; ++i) {
      numbers[i] = _mm512_loadu_si512(rows.row(i));
    }
    put_turned(numbers);
  }

  // A scale in F16, then codes.
  HWY_INLINE void pack_q8(const BlockRows& rows, float* scales) {
    const __m256i halves = _mm512_cvtepi32_epi16(ByteRows::load(rows).first_bytes());
    _mm512_storeu_ps(scales, _mm512_mul_ps(_mm512_cvtph_ps(halves), _mm512_set1_ps(1 / kCodeStep)));
#pragma GCC unroll 2
    for (Index half = 0; half < 2; ++half) {
      const ByteRows pairs = ByteRows::load(rows.from(2 + 16 * half)).turned_by_words();
#pragma GCC unroll 4
      for (Index i = 0; i < 4; ++i) {
        const __m512i codes = pairs.v[i];
        Bf16Bytes bytes = codes_.look_up(_mm512_abs_epi8(codes), codes);
        // The only magnitude that the table does not have: -1.
        const __mmask64 is_smallest = _mm512_cmpeq_epi8_mask(codes, _mm512_set1_epi8(-128));
        bytes.lower = _mm512_mask_mov_epi8(bytes.lower, is_smallest, _mm512_set1_epi8(-128));
        bytes.upper = _mm512_mask_mov_epi8(bytes.upper, is_smallest, _mm512_set1_epi8(-65));
        put(8 * half + 2 * i, bytes.first(), bytes.last());
      }
    }
  }

  HWY_INLINE void pack_fp8(const BlockRows& rows, Index first) {
    const int scale = fp8_scale_code(weight_, first_row_, first);
    if (!is_plain_fp8_scale(scale) ||
        scale != fp8_scale_code(weight_, row_index(kVectorRows - 1), first)) {
      return pack_numbers(first, kPartColumns);
    }
    const E4m3Table& table = e4m3_.of(scale);
#pragma GCC unroll 2
    for (Index half = 0; half < 2; ++half) {
      const ByteRows pairs = ByteRows::load(rows.from(16 * half)).turned_by_words();
#pragma GCC unroll 4
      for (Index i = 0; i < 4; ++i) {
        const Bf16Bytes bytes = table.look_up(pairs.v[i]);
        put(8 * half + 2 * i, bytes.first(), bytes.last());
      }
    }
  }

  // first_row_ is a panel's first.
  HWY_INLINE void pack_fp8_panel(Index first) {
    const int scale = fp8_scale_code(weight_, first_row_, first);
    if (!is_plain_fp8_scale(scale)) {
      return pack_numbers(first, kPartColumns);
    }
    const E4m3Table& table = e4m3_.of(scale);
    const std::uint8_t* codes = bytes_at(weight_, first_row_, first * kVectorRows);
#pragma GCC unroll 8
    for (Index step = 0; step < numeric::kPanelSteps; ++step) {
      const Bf16Bytes bytes = table.look_up(_mm512_loadu_si512(codes + step * kLineBytes));
      put(2 * step, bytes.first(), bytes.last());
    }
  }

  // What is added to the numbers of 16 rows as integers, twice each, for their scales.
  struct RowSteps {
    __m512i steps;
    bool are_plain;

    // `codes` of E8M0, 32 bits each.
    HWY_INLINE explicit RowSteps(__m512i codes) {
      const __m512i least = _mm512_set1_epi32(kLeastPlainFp4Scale);
      are_plain =
          _mm512_cmpgt_epu32_mask(_mm512_sub_epi32(codes, least),
                                  _mm512_set1_epi32(kMostPlainFp4Scale - kLeastPlainFp4Scale)) == 0;
      const __m512i step = _mm512_slli_epi32(_mm512_sub_epi32(codes, _mm512_set1_epi32(127)), 7);
      steps = _mm512_or_si512(_mm512_slli_epi32(step, 16),
                              _mm512_and_si512(step, _mm512_set1_epi32(0xffff)));
    }

    HWY_INLINE __m512i add(__m512i numbers) const {
      const __mmask32 is_nonzero = _mm512_test_epi16_mask(numbers, _mm512_set1_epi16(0x7fff));
      return _mm512_mask_add_epi16(numbers, is_nonzero, numbers, steps);
    }
  };

  // Codes of 4 bits, as bytes.
  HWY_INLINE void put_e2m1(Index pair, __m512i codes, const RowSteps& steps) {
    const auto table = [](const std::uint8_t* from) HWY_ATTR {
      return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(from)));
    };
    const Bf16Bytes bytes = {_mm512_shuffle_epi8(table(kE2m1Lower), codes),
                             _mm512_shuffle_epi8(table(kE2m1Upper), codes)};
    put(pair, steps.add(bytes.first()), steps.add(bytes.last()));
  }
  static HWY_INLINE __m512i low_nibbles(__m512i bytes) {
    return _mm512_and_si512(bytes, _mm512_set1_epi8(15));
  }
  static HWY_INLINE __m512i high_nibbles(__m512i bytes) {
    return low_nibbles(_mm512_srli_epi16(bytes, 4));
  }

  // The scales of a chunk, [block][row].
  void set_scales(Index first_column) {
    const Index num_columns = weight_.columns / numeric::kFp4ScaleColumns - first_column;
    const auto mask = static_cast<__mmask16>((1U << std::min<Index>(num_columns, 16)) - 1);
    if (weight_.scale_format == numeric::ScaleFormat::None || !has_all_rows_) {
      for (Index column = 0; column < std::min<Index>(num_columns, 16); ++column) {
        for (Index i = 0; i < kVectorRows; ++i) {
          fp4_scales_[column * kVectorRows + i] = static_cast<std::uint8_t>(
              scale_code_at(weight_, weight_.first_row + row_index(i), first_column + column));
        }
      }
      return;
    }
    const Index stride = weight_.scale_row_stride_bytes;
    const auto* first = reinterpret_cast<const std::uint8_t*>(weight_.scales) +
                        (weight_.first_row + first_row_) * stride + first_column;
    const ByteRows scales =
        ByteRows::load_with({first, stride}, [mask](const std::uint8_t* from) HWY_ATTR {
          return _mm_maskz_loadu_epi8(mask, from);
        }).turned_by_bytes();
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for (Index i = 0; i < 4; ++i) {
      _mm512_storeu_si512(fp4_scales_ + 4 * i * kVectorRows,
                          _mm512_permutexvar_epi32(order, scales.v[i]));
    }
  }

  // Byte i holds columns 2 i and 2 i + 1.
  HWY_INLINE void pack_fp4(const BlockRows& rows, Index first) {
    const Index block = first / numeric::kFp4ScaleColumns % kFp4ChunkBlocks;
    const RowSteps steps(_mm512_cvtepu8_epi32(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(fp4_scales_ + block * kVectorRows))));
    if (!steps.are_plain) [[unlikely]] {
      return pack_numbers(first, kPartColumns);
    }
    const ByteRows bytes = ByteRows::load(rows).turned_by_bytes();
#pragma GCC unroll 4
    for (Index i = 0; i < 4; ++i) {
      const __m512i low = low_nibbles(bytes.v[i]);
      const __m512i high = high_nibbles(bytes.v[i]);
      put_e2m1(4 * i, _mm512_unpacklo_epi8(low, high), steps);
      put_e2m1(4 * i + 2, _mm512_unpackhi_epi8(low, high), steps);
    }
  }

  // A scale in E8M0, then codes: byte i holds columns i and i + 16.
  HWY_INLINE void pack_mxfp4(const BlockRows& rows, Index first) {
    const RowSteps steps(
        _mm512_and_si512(ByteRows::load(rows).first_bytes(), _mm512_set1_epi32(0xff)));
    if (!steps.are_plain) [[unlikely]] {
      return pack_numbers(first, kPartColumns);
    }
    const ByteRows words = ByteRows::load(rows.from(1)).turned_by_words();
#pragma GCC unroll 4
    for (Index i = 0; i < 4; ++i) {
      put_e2m1(2 * i, low_nibbles(words.v[i]), steps);
      put_e2m1(8 + 2 * i, high_nibbles(words.v[i]), steps);
    }
  }

  // Any numbers, row by row.
  void pack_numbers(Index first, Index count) {
    alignas(64) std::uint16_t decoded[kPartColumns];
    __m512i numbers[kVectorRows];
    for (Index i = 0; i < kVectorRows; ++i) {
      if (weight_.format == numeric::WeightFormat::F32) {
        decode_if_bf16(weight_, row_index(i), first, std::min(count, kPartColumns), decoded);
      } else if (is_in_fp8_panels(weight_)) {
        decode_rare(weight_, row_index(i), first, std::min(count, kPartColumns), decoded);
      } else {
        decode_part(weight_, row_index(i), first, count, decoded);
      }
      numbers[i] = _mm512_load_si512(decoded);
    }
    put_turned(numbers);
  }

  alignas(16) static constexpr std::uint8_t kE2m1Lower[16] = {0x00, 0x00, 0x80, 0xc0, 0x00, 0x40,
                                                              0x80, 0xc0, 0x00, 0x00, 0x80, 0xc0,
                                                              0x00, 0x40, 0x80, 0xc0};
  alignas(16) static constexpr std::uint8_t kE2m1Upper[16] = {0x00, 0x3f, 0x3f, 0x3f, 0x40, 0x40,
                                                              0x40, 0x40, 0x80, 0xbf, 0xbf, 0xbf,
                                                              0xc0, 0xc0, 0xc0, 0xc0};

  const numeric::WeightView& weight_;
  Index block_bytes_;
  Index first_row_ = 0;
  bool has_all_rows_ = false;
  MagnitudeTable codes_;
  E4m3Tables e4m3_;
  alignas(64) std::uint8_t fp4_scales_[kFp4ChunkBlocks * kVectorRows];
  std::uint16_t* to_ = nullptr;  // of the block that is packed
  Index stride_ = 0;
};

// Slots whose sums fit the registers beside those of three of rows: 24 sums and what they multiply.
inline constexpr Index kTileSlots = 8;

// Of kVectors registers of rows and kSlots slots. In memory a slot's rows follow each other,
// `stride` numbers behind those of the slot before.
template <Index kVectors, Index kSlots>
struct SumsOfPairs {
  static_assert(kVectors <= 4 && kSlots <= kTileSlots);
  __m512 sums[to_size(kVectors)][to_size(kSlots)];

  HWY_INLINE void load(const float* from, Index stride) {
#pragma GCC unroll 8
    for (Index s = 0; s < kSlots; ++s) {
#pragma GCC unroll 4
      for (Index v = 0; v < kVectors; ++v) {
        sums[v][s] = _mm512_loadu_ps(from + s * stride + v * kVectorRows);
      }
    }
  }
  HWY_INLINE void store(float* to, Index stride) const {
#pragma GCC unroll 8
    for (Index s = 0; s < kSlots; ++s) {
#pragma GCC unroll 4
      for (Index v = 0; v < kVectors; ++v) {
        _mm512_storeu_ps(to + s * stride + v * kVectorRows, sums[v][s]);
      }
    }
  }
  HWY_INLINE void clear() {
#pragma GCC unroll 8
    for (Index s = 0; s < kSlots; ++s) {
#pragma GCC unroll 4
      for (Index v = 0; v < kVectors; ++v) {
        sums[v][s] = _mm512_setzero_ps();
      }
    }
  }
};

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#endif  // per-target include guard
