// Panels of weights (numeric/weight_panels.h) as integer products read them: 16 rows times some
// blocks of 32 columns.
//
// A lane is a row, so the integer sum of a block, its conversion and its scaling happen for 16 rows
// at once, and every row keeps the one order of docs/numerics.md whatever else is computed.
#if defined(FATHOM_CPU_INT8_PANELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_INT8_PANELS_INL_H_
#undef FATHOM_CPU_INT8_PANELS_INL_H_
#else
#define FATHOM_CPU_INT8_PANELS_INL_H_
#endif

#include <cstring>
#include <type_traits>

#include "fathom/compute/backends/cpu/decode-inl.h"
#include "fathom/compute/backends/cpu/simd-inl.h"
#include "fathom/compute/numeric/weight_panels.h"

#if HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_AVX2
#include <immintrin.h>
#endif

FATHOM_BEFORE_DOT_NAMESPACE();
namespace fathom::cpu::FATHOM_NAMESPACE {

inline constexpr Index kPanelRows = numeric::kPanelRows;
inline constexpr Index kBlock = numeric::kInt8BlockColumns;
inline constexpr Index kSteps = numeric::kPanelSteps;
inline constexpr Index kStepColumns = numeric::kPanelStepColumns;
inline constexpr Index kStepBytes = kPanelRows * kStepColumns;
// Of a panel at most, multiplied with all tokens at a time.
inline constexpr Index kChunkBlocks = 18;

// Where no instruction multiplies bytes, the codes that are multiplied are 16 bits wide.
#if FATHOM_HAS_DOT
using PanelCode = std::int8_t;
using ColumnCode = std::uint8_t;
#else
using PanelCode = std::int16_t;
using ColumnCode = std::int16_t;
#endif

// Scales (or minima) of a block's 16 rows: as they are read, and their product with numbers.
struct F16Scales {
  static HWY_INLINE V read(const std::uint8_t* scales, Index first_row) {
    return F16Weights::read(scales + 2 * first_row);
  }
  static HWY_INLINE V scaled(V numbers, V scales) { return hn::Mul(numbers, scales); }
};
// Half of 2^(code - 127), as numeric::mxfp4_half_scale.
#if HWY_TARGET == HWY_AVX3_DL
// Kept as exponents, for an instruction that multiplies with powers of two. It is the same product,
// and goes where a processor adds, beside the integer products instead of between them.
struct E8m0Scales {
  static HWY_INLINE V read(const std::uint8_t* scales, Index first_row) {
    const hn::Rebind<std::uint8_t, D> d8;
    const auto codes = hn::PromoteTo(hn::RebindToSigned<D>(), hn::LoadU(d8, scales + first_row));
    return hn::Sub(hn::ConvertTo(D(), codes), hn::Set(D(), 128.0F));
  }
  static HWY_INLINE V scaled(V numbers, V exponents) {
    return V(_mm512_scalef_ps(numbers.raw, exponents.raw));
  }
};
#else
struct E8m0Scales {
  static HWY_INLINE V read(const std::uint8_t* scales, Index first_row) {
    const hn::Rebind<std::uint8_t, D> d8;
    const hn::RebindToUnsigned<D> d32;
    const auto codes = hn::PromoteTo(d32, hn::LoadU(d8, scales + first_row));
    const auto one = hn::Set(d32, 1);
    const auto normal = hn::ShiftLeft<23>(hn::Sub(codes, one));
    const auto is_zero = hn::Eq(codes, hn::Zero(d32));
    const auto tiny = hn::IfThenElse(is_zero, hn::Set(d32, 0x00200000), hn::Set(d32, 0x00400000));
    const auto is_tiny = hn::Or(is_zero, hn::Eq(codes, one));
    return hn::BitCast(D(), hn::IfThenElse(is_tiny, tiny, normal));
  }
  static HWY_INLINE V scaled(V numbers, V scales) { return hn::Mul(numbers, scales); }
};
#endif

// Calls body(std::bool_constant<has_nibbles>, Scales, std::bool_constant<has_minimum>).
template <typename Body>
HWY_INLINE void with_panel_format(numeric::WeightFormat format, const Body& body) {
  using numeric::WeightFormat;
  constexpr std::true_type kYes;
  constexpr std::false_type kNo;
  switch (format) {
    case WeightFormat::Fp4:
    case WeightFormat::Mxfp4:
      return body(kYes, E8m0Scales(), kNo);
    case WeightFormat::Q4_0:
    case WeightFormat::IQ4_NL:
      return body(kYes, F16Scales(), kNo);
    case WeightFormat::Q4_1:
      return body(kYes, F16Scales(), kYes);
    case WeightFormat::Q5_1:
      return body(kNo, F16Scales(), kYes);
    default:  // Q8_0, Q5_0
      return body(kNo, F16Scales(), kNo);
  }
}

using D32 = hn::RebindToSigned<D>;
using V32 = hn::Vec<D32>;
#if HWY_TARGET != HWY_SCALAR
using D8 = hn::Repartition<std::uint8_t, D>;
#endif

// The exact integer sum of a block's products for kWidth rows and one token, in three ways. load()
// reads one step of the rows from where the step's first of them is, columns() four codes of the
// token.
#if FATHOM_HAS_DOT

struct Products {
  using Codes = hn::Vec<D8>;  // with signs
  using Columns = hn::Vec<D8>;
  // NEON's dotprod multiplies bytes that both have signs: a token's are counted from 128 there.
  static constexpr std::int32_t kColumnShift =
      HWY_TARGET == HWY_NEON && FATHOM_HAS_I8MM == 0 ? 128 : 0;
  HWY_INLINE Products() : sum(hn::Zero(D32())) {}
  static HWY_INLINE Codes load(const PanelCode* codes) {
    return hn::LoadU(D8(), reinterpret_cast<const std::uint8_t*>(codes));
  }
  static HWY_INLINE Columns columns(const ColumnCode* x) {
    std::int32_t four;
    std::memcpy(&four, x, sizeof(four));
    const Columns codes = hn::BitCast(D8(), hn::Set(D32(), four));
    return kColumnShift == 0 ? codes : hn::Xor(codes, hn::Set(D8(), 128));
  }
  static HWY_INLINE Columns ones() { return hn::Set(D8(), 1); }
  HWY_INLINE V32 total() const { return sum; }
  // The sum, of the codes of the rows and of the token minus zero, which kColumnShift is taken
  // from. Both factors fit 16 bits, and elsewhere than on NEON the upper half of zero is zero.
#if HWY_TARGET == HWY_AVX3_DL
  HWY_INLINE void add(Codes codes, Columns columns) {
    sum.raw = _mm512_dpbusd_epi32(sum.raw, columns.raw, codes.raw);
  }
  HWY_INLINE V32 total(V32 minus_row_sums, V32 zero) const {
    return V32(_mm512_dpwssd_epi32(sum.raw, minus_row_sums.raw, zero.raw));
  }
#elif HWY_TARGET == HWY_AVX2
  HWY_INLINE void add(Codes codes, Columns columns) {
    sum.raw = _mm256_dpbusd_avx_epi32(sum.raw, columns.raw, codes.raw);
  }
  HWY_INLINE V32 total(V32 minus_row_sums, V32 zero) const {
    return V32(_mm256_dpwssd_avx_epi32(sum.raw, minus_row_sums.raw, zero.raw));
  }
#else
  HWY_INLINE void add(Codes codes, Columns columns) {
    const int8x16_t signed_codes = vreinterpretq_s8_u8(codes.raw);
#if FATHOM_HAS_I8MM
    sum.raw = vusdotq_s32(sum.raw, columns.raw, signed_codes);
#else
    sum.raw = vdotq_s32(sum.raw, vreinterpretq_s8_u8(columns.raw), signed_codes);
#endif
  }
  HWY_INLINE V32 total(V32 minus_row_sums, V32 zero) const {
    return hn::Add(sum, hn::Mul(minus_row_sums, zero));
  }
#endif
  V32 sum;
};

#elif HWY_TARGET == HWY_SCALAR

struct Products {
  static constexpr std::int32_t kColumnShift = 0;
  using Codes = const PanelCode*;
  using Columns = const ColumnCode*;
  HWY_INLINE Products() = default;
  static HWY_INLINE Codes load(const PanelCode* codes) { return codes; }
  static HWY_INLINE Columns columns(const ColumnCode* x) { return x; }
  static HWY_INLINE Columns ones() {
    static constexpr ColumnCode kOnes[kStepColumns] = {1, 1, 1, 1};
    return kOnes;
  }
  HWY_INLINE void add(Codes codes, Columns columns) {
    for (Index i = 0; i < kStepColumns; ++i) {
      sum += std::int32_t{codes[i]} * std::int32_t{columns[i]};
    }
  }
  HWY_INLINE V32 total() const { return hn::Set(D32(), sum); }
  HWY_INLINE V32 total(V32 minus_row_sums, V32 zero) const {
    return hn::Add(total(), hn::Mul(minus_row_sums, zero));
  }
  std::int32_t sum = 0;
};

#else

// Two registers of kWidth / 2 rows. Highway leaves open which half of a pair of products goes to
// which sum until both are added up; then two neighbours make a row.
struct Products {
  static constexpr std::int32_t kColumnShift = 0;
  using D16 = hn::Repartition<std::int16_t, D32>;
  struct Codes {
    HWY_INLINE Codes(hn::Vec<D16> a, hn::Vec<D16> b) : low(a), high(b) {}
    hn::Vec<D16> low;
    hn::Vec<D16> high;
  };
  using Columns = hn::Vec<D16>;
  HWY_INLINE Products()
      : low_even(hn::Zero(D32())),
        low_odd(hn::Zero(D32())),
        high_even(hn::Zero(D32())),
        high_odd(hn::Zero(D32())) {}
  static HWY_INLINE Codes load(const PanelCode* codes) {
    return {hn::LoadU(D16(), codes), hn::LoadU(D16(), codes + 2 * kWidth)};
  }
  static HWY_INLINE Columns columns(const ColumnCode* x) {
    std::int64_t four;
    std::memcpy(&four, x, sizeof(four));
    return hn::BitCast(D16(), hn::Set(hn::Repartition<std::int64_t, D16>(), four));
  }
  static HWY_INLINE Columns ones() { return hn::Set(D16(), 1); }
  HWY_INLINE void add(Codes codes, Columns columns) {
    low_even = hn::ReorderWidenMulAccumulate(D32(), codes.low, columns, low_even, low_odd);
    high_even = hn::ReorderWidenMulAccumulate(D32(), codes.high, columns, high_even, high_odd);
  }
  HWY_INLINE V32 total() const {
    const V32 low = hn::RearrangeToOddPlusEven(low_even, low_odd);
    const V32 high = hn::RearrangeToOddPlusEven(high_even, high_odd);
    return hn::Add(hn::ConcatEven(D32(), high, low), hn::ConcatOdd(D32(), high, low));
  }
  HWY_INLINE V32 total(V32 minus_row_sums, V32 zero) const {
    return hn::Add(total(), hn::Mul(minus_row_sums, zero));
  }
  V32 low_even;
  V32 low_odd;
  V32 high_even;
  V32 high_odd;
};

#endif

#if FATHOM_HAS_I8MM

// A block of four rows, from `codes` on, times two tokens: products of two tokens and eight columns
// with two rows are [token][row], and two steps of four rows are two such matrices of rows.
HWY_INLINE void multiply_pair(const PanelCode* codes,
                              const ColumnCode* x0,
                              const ColumnCode* x1,
                              Products& first,
                              Products& second) {
  int32x4_t low = vdupq_n_s32(0);  // rows 0 and 1
  int32x4_t high = low;            // rows 2 and 3
#pragma GCC unroll 4
  for (Index step = 0; step < kSteps; step += 2) {
    const int32x4_t even = vreinterpretq_s32_s8(vld1q_s8(codes + step * kStepBytes));
    const int32x4_t odd = vreinterpretq_s32_s8(vld1q_s8(codes + (step + 1) * kStepBytes));
    const uint8x16_t tokens =
        vcombine_u8(vld1_u8(x0 + step * kStepColumns), vld1_u8(x1 + step * kStepColumns));
    low = vusmmlaq_s32(low, tokens, vreinterpretq_s8_s32(vzip1q_s32(even, odd)));
    high = vusmmlaq_s32(high, tokens, vreinterpretq_s8_s32(vzip2q_s32(even, odd)));
  }
  const int64x2_t a = vreinterpretq_s64_s32(low);
  const int64x2_t b = vreinterpretq_s64_s32(high);
  first.sum = V32(vreinterpretq_s32_s64(vzip1q_s64(a, b)));
  second.sum = V32(vreinterpretq_s32_s64(vzip2q_s64(a, b)));
}

#endif

// What the products of one block are multiplied with: of kWidth rows, and of a token.
struct BlockOfRows {
  V32 minus_sum;  // of the codes
  V scale;        // as Scales::read
  V minimum;      // only read in formats that have one
};
struct BlockOfToken {
  V32 zero;
  V scale;
  V total;  // of the rounded activations; only read in formats that have a minimum
};

// Adds a block's part, whose exact integer sum is `whole`: the one arithmetic of all kernel shapes.
template <typename Scales, bool kHasMinimum>
HWY_INLINE V add_block(V sum, V32 whole, const BlockOfRows& rows, const BlockOfToken& token) {
  sum = hn::MulAdd(Scales::scaled(hn::ConvertTo(D(), whole), rows.scale), token.scale, sum);
  return kHasMinimum ? hn::MulAdd(rows.minimum, token.total, sum) : sum;
}

// One token's activations and where its results go.
struct TokenRow {
  const std::uint8_t* codes;
  const float* scales;
  const std::int32_t* zeros;
  const std::int32_t* sums;
  float* out;
};

template <bool kHasMinimum>
HWY_INLINE BlockOfToken block_of_token(const TokenRow& token, Index block) {
  const std::int32_t zero = token.zeros[block] - Products::kColumnShift;
  BlockOfToken x = {hn::Set(D32(), zero), hn::Set(D(), token.scales[block]), hn::Zero(D())};
  if constexpr (kHasMinimum) {
    x.total = hn::Mul(hn::Set(D(), static_cast<float>(token.sums[block])), x.scale);
  }
  return x;
}

#if HWY_TARGET != HWY_SCALAR

// Two steps' codes from a register of nibbles. Bytes are looked up inside groups of 16, each of
// which holds the whole table; nibbles that are the codes are not looked up.
template <bool kAreCodes>
class NibbleTable {
 public:
  HWY_INLINE explicit NibbleTable(const numeric::NibbleCodeTable& table)
      : values_(hn::LoadDup128(D8(), reinterpret_cast<const std::uint8_t*>(table.data()))) {}
  HWY_INLINE hn::Vec<D8> even(hn::Vec<D8> pairs) const {
    const auto lower = hn::And(pairs, hn::Set(D8(), 15));
    if constexpr (kAreCodes) {
      return lower;
    } else {
      return hn::TableLookupBytes(values_, lower);
    }
  }
  HWY_INLINE hn::Vec<D8> odd(hn::Vec<D8> pairs) const {
    const hn::Repartition<std::uint16_t, D8> d16;
    return even(hn::BitCast(D8(), hn::ShiftRight<4>(hn::BitCast(d16, pairs))));
  }

 private:
  hn::Vec<D8> values_;
};

// Codes of a register of bytes, as wide as they are multiplied.
HWY_INLINE void store_codes(hn::Vec<D8> bytes, PanelCode* to) {
#if FATHOM_HAS_DOT
  hn::StoreU(bytes, D8(), reinterpret_cast<std::uint8_t*>(to));
#else
  const Products::D16 d16;
  const hn::Rebind<std::int8_t, Products::D16> d8;
  const auto codes = hn::BitCast(hn::Repartition<std::int8_t, D>(), bytes);
  hn::StoreU(hn::PromoteTo(d16, hn::LowerHalf(d8, codes)), d16, to);
  hn::StoreU(hn::PromoteTo(d16, hn::UpperHalf(d8, codes)), d16, to + 2 * kWidth);
#endif
}

#endif  // HWY_SCALAR

// A chunk of a panel as it is multiplied with many tokens.
struct ReadyPanel {
  const PanelCode* codes;  // [step][row][column of the step] of the first block
  Index block_stride;      // from block to block
  alignas(64) float scales[kChunkBlocks][kPanelRows];
  alignas(64) std::int32_t minus_sums[kChunkBlocks][kPanelRows];  // of a block's codes
  alignas(64) float minima[kChunkBlocks][kPanelRows];
  alignas(64) PanelCode spread[kChunkBlocks * kSteps * kStepBytes];  // where codes may lie
};

// The codes of one block.
template <bool kHasNibbles>
HWY_INLINE void spread_codes(const std::uint8_t* from,
                             const numeric::NibbleCodeTable& table,
                             PanelCode* to) {
#if HWY_TARGET == HWY_SCALAR
  for (Index step = 0; step < kSteps; ++step) {
    for (Index i = 0; i < kStepBytes; ++i) {
      const std::uint8_t byte = from[(kHasNibbles ? step / 2 : step) * kStepBytes + i];
      to[step * kStepBytes + i] = !kHasNibbles    ? static_cast<std::int8_t>(byte)
                                  : step % 2 == 0 ? table[byte & 15U]
                                                  : table[byte >> 4U];
    }
  }
#else
  const D8 d8;
  const NibbleTable<false> nibbles(table);
  for (Index step = 0; step < kSteps; step += kHasNibbles ? 2 : 1) {
    for (Index i = 0; i < kStepBytes; i += 4 * kWidth) {
      PanelCode* at = to + step * kStepBytes + i;
      if constexpr (kHasNibbles) {
        const auto pairs = hn::LoadU(d8, from + step / 2 * kStepBytes + i);
        store_codes(nibbles.even(pairs), at);
        store_codes(nibbles.odd(pairs), at + kStepBytes);
      } else {
        store_codes(hn::LoadU(d8, from + step * kStepBytes + i), at);
      }
    }
  }
#endif
}

// Whether a row's codes of a block add up in bytes, where a processor has more room than for
// products: nibbles of Q4_1 and E2M1 are at most 15 and 12, and a byte takes eight of them.
template <bool kHasNibbles, typename Scales, bool kHasMinimum>
inline constexpr bool kSumsInBytes = FATHOM_HAS_DOT == 1 && kHasNibbles &&
                                     (kHasMinimum || std::is_same_v<Scales, E8m0Scales>);

template <bool kInBytes>
HWY_INLINE V32 sum_of_codes(const PanelCode* codes, Index first_row) {
  Products products;
#if FATHOM_HAS_DOT
  if constexpr (kInBytes) {
    const PanelCode* from = codes + first_row * kStepColumns;
    auto sum = Products::load(from);
    for (Index step = 1; step < kSteps; ++step) {
      sum = hn::Add(sum, Products::load(from + step * kStepBytes));
    }
    products.add(sum, Products::ones());
    return products.total();
  }
#endif
  for (Index step = 0; step < kSteps; ++step) {
    products.add(Products::load(codes + step * kStepBytes + first_row * kStepColumns),
                 Products::ones());
  }
  return products.total();
}

template <bool kHasNibbles, typename Scales, bool kHasMinimum>
HWY_INLINE void make_ready(const std::uint8_t* blocks,
                           numeric::WeightFormat format,
                           Index num_blocks,
                           ReadyPanel& out) {
  constexpr bool kInPlace = FATHOM_HAS_DOT == 1 && !kHasNibbles;
  constexpr bool kInBytes = kSumsInBytes<kHasNibbles, Scales, kHasMinimum>;
  const numeric::PanelBlock shape = numeric::panel_block(format);
  out.codes = out.spread;
  out.block_stride = kSteps * kStepBytes;
  if constexpr (kInPlace) {
    out.codes = reinterpret_cast<const PanelCode*>(blocks + shape.codes_at());
    out.block_stride = shape.bytes();
  }
  for (Index block = 0; block < num_blocks; ++block) {
    const std::uint8_t* from = blocks + block * shape.bytes();
    if constexpr (!kInPlace) {
      spread_codes<kHasNibbles>(from + shape.codes_at(), numeric::nibble_codes(format),
                                out.spread + block * out.block_stride);
    }
    const PanelCode* codes = out.codes + block * out.block_stride;
    for (Index row = 0; row < kPanelRows; row += kWidth) {
      hn::Store(Scales::read(from, row), D(), out.scales[block] + row);
      hn::Store(hn::Neg(sum_of_codes<kInBytes>(codes, row)), D32(), out.minus_sums[block] + row);
      if constexpr (kHasMinimum) {
        hn::Store(F16Scales::read(from + shape.minima_at(), row), D(), out.minima[block] + row);
      }
    }
  }
}

#if FATHOM_HAS_DOT

// Blocks of a panel times a few tokens, which wait for memory: codes stay in registers, and memory
// is fetched ahead, so far as measurement found best. One token of codes of 8 bits is fast enough
// for what the processor fetches by itself, which reads memory faster yet.
template <bool kHasNibbles, typename Scales, bool kHasMinimum, Index kTokens>
HWY_INLINE void multiply_few(const std::uint8_t* blocks,
                             numeric::WeightFormat format,
                             Index first_block,
                             Index num_blocks,
                             const TokenRow* tokens,
                             LaneSet (&sums)[to_size(kTokens)]) {
  constexpr Index kAheadBytes = 8192;
  constexpr bool kInBytes = kSumsInBytes<kHasNibbles, Scales, kHasMinimum>;
  const numeric::PanelBlock shape = numeric::panel_block(format);
  const D8 d8;
  constexpr bool kAreCodes = kHasNibbles && kHasMinimum;  // nibbles of Q4_1
  const NibbleTable<kAreCodes> nibbles(numeric::nibble_codes(format));
  for (Index block = 0; block < num_blocks; ++block) {
    const std::uint8_t* from = blocks + block * shape.bytes();
    if constexpr (kTokens > 1 || kHasNibbles) {
      for (Index at = 0; at < shape.bytes(); at += kLineBytes) {
        fetch_ahead(from + kAheadBytes + at);
      }
    }
    for (Index i = 0; i < kRegisters; ++i) {
      const std::uint8_t* from_codes = from + shape.codes_at() + i * kWidth * kStepColumns;
      Products products[to_size(kTokens)];
      Products codes;
      auto bytes = hn::Zero(d8);
      const auto add_step = [&](Index step, Products::Codes step_codes) {
        if constexpr (kInBytes) {
          bytes = hn::Add(bytes, step_codes);
        } else {
          codes.add(step_codes, Products::ones());
        }
        for (Index t = 0; t < kTokens; ++t) {
          const std::uint8_t* x = tokens[t].codes + (first_block + block) * kBlock;
          products[t].add(step_codes, Products::columns(x + step * kStepColumns));
        }
      };
#pragma GCC unroll 8
      for (Index step = 0; step < kSteps; step += kHasNibbles ? 2 : 1) {
        if constexpr (kHasNibbles) {
          const auto pairs = hn::LoadU(d8, from_codes + step / 2 * kStepBytes);
          add_step(step, nibbles.even(pairs));
          add_step(step + 1, nibbles.odd(pairs));
        } else {
          add_step(step, hn::LoadU(d8, from_codes + step * kStepBytes));
        }
      }
      if constexpr (kInBytes) {
        codes.add(bytes, Products::ones());
      }
      BlockOfRows rows = {hn::Neg(codes.total()), Scales::read(from, i * kWidth), hn::Zero(D())};
      if constexpr (kHasMinimum) {
        rows.minimum = F16Scales::read(from + shape.minima_at(), i * kWidth);
      }
      for (Index t = 0; t < kTokens; ++t) {
        const auto of_token = block_of_token<kHasMinimum>(tokens[t], first_block + block);
        sums[t].v[i] = add_block<Scales, kHasMinimum>(
            sums[t].v[i], products[t].total(rows.minus_sum, of_token.zero), rows, of_token);
      }
    }
  }
}

#endif

}  // namespace fathom::cpu::FATHOM_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
