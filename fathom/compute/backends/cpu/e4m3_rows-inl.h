// Rows of E4M3 codes times a few tokens, which wait for memory: AVX-512 with VBMI, so for the
// target AVX3_DL alone.
//
// Scales are powers of two, so a weight is a BF16 number that is looked up in registers
// (byte_tables-inl.h). Sums are those of linear.cc, in the same order.
#if defined(FATHOM_CPU_E4M3_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_E4M3_ROWS_INL_H_
#undef FATHOM_CPU_E4M3_ROWS_INL_H_
#else
#define FATHOM_CPU_E4M3_ROWS_INL_H_
#endif

#include "fathom/compute/backends/cpu/byte_tables-inl.h"
#include "fathom/compute/backends/cpu/decode-inl.h"
#include "fathom/compute/backends/cpu/simd-inl.h"
#include "fathom/compute/ops/scalar_rows.h"

HWY_BEFORE_NAMESPACE();
#if HWY_TARGET == HWY_AVX3_DL
namespace fathom::cpu::HWY_NAMESPACE {

inline constexpr Index kMostE4m3Tokens = 4;

// Whether multiply_e4m3_rows() can do it.
inline bool has_e4m3_rows(const numeric::WeightView& weight) {
  return weight.format == numeric::WeightFormat::Fp8 &&
         weight.layout == numeric::WeightLayout::Rows &&
         weight.scale_format != numeric::ScaleFormat::F32 &&
         weight.columns % numeric::kFp8TileColumns == 0;
}

// kRows rows that lie in one tile of scales times kTokens tokens.
template <Index kRows, Index kTokens>
HWY_INLINE void multiply_e4m3(const numeric::WeightView& weight,
                              const Index (&rows)[to_size(kRows)],
                              const float* const* x,
                              E4m3Tables& tables,
                              LaneSet (&sums)[to_size(kRows)][to_size(kTokens)]) {
  constexpr Index kStep = 64;
  // Bytes of later rows, as they lie, so many as measurement found best.
  constexpr Index kAheadBytes = 8192;
  const Index group_bytes = kRows * weight.row_stride_bytes;
  const Index ahead = ceil_div(kAheadBytes, group_bytes) * group_bytes;
  const std::uint8_t* codes[to_size(kRows)];
  for (Index r = 0; r < kRows; ++r) {
    codes[r] = bytes_at(weight, rows[r], 0);
    for (Index t = 0; t < kTokens; ++t) {
      sums[r][t] = zero_lanes();
    }
  }
  const auto add = [&](Index r, V numbers, Index first) HWY_ATTR {
    for (Index t = 0; t < kTokens; ++t) {
      sums[r][t].v[0] = hn::MulAdd(numbers, hn::LoadU(D(), x[t] + first), sums[r][t].v[0]);
    }
  };
  for (Index first = 0; first < weight.columns; first += numeric::kFp8TileColumns) {
    const int scale = fp8_scale_code(weight, rows[0], first);
    if (is_plain_fp8_scale(scale)) [[likely]] {
      const E4m3Table table = tables.of(scale);
      for (Index at = first; at < first + numeric::kFp8TileColumns; at += kStep) {
        V numbers[to_size(kRows)][4];
        for (Index r = 0; r < kRows; ++r) {
          fetch_ahead(codes[0] + kRows * at + r * kLineBytes + ahead);
          table.decode(codes[r] + at, numbers[r]);
        }
        for (Index part = 0; part < 4; ++part) {
          for (Index r = 0; r < kRows; ++r) {
            add(r, numbers[r][part], at + part * kWidth);
          }
        }
      }
    } else {
      HWY_ALIGN float decoded[numeric::kFp8TileColumns];
      for (Index r = 0; r < kRows; ++r) {
        numeric::decode_row(weight, rows[r], first, numeric::kFp8TileColumns, decoded);
        for (Index at = 0; at < numeric::kFp8TileColumns; at += kWidth) {
          add(r, hn::Load(D(), decoded + at), first + at);
        }
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
  // The next addition to a sum waits for the last one: so many sums take turns.
  constexpr Index kRows = kMostE4m3Tokens / kTokens;
  static_assert(numeric::kFp8TileRows % kRows == 0);
  const float* x[to_size(kTokens)];
  for (Index t = 0; t < kTokens; ++t) {
    x[t] = given[std::min(t, num_tokens - 1)];
  }
  E4m3Tables tables;
  LaneSet sums[to_size(kRows)][to_size(kTokens)];
  for (Index row = first_row; row < end_row;) {
    // Not across a tile of scales, within which a slice of rows may begin anywhere.
    const Index count = std::min(kRows - (weight.first_row + row) % kRows, end_row - row);
    Index rows[to_size(kRows)];
    for (Index r = 0; r < kRows; ++r) {
      rows[r] = row + std::min(r, count - 1);
    }
    multiply_e4m3<kRows, kTokens>(weight, rows, x, tables, sums);
    for (Index r = 0; r < count; ++r) {
      for (Index t = 0; t < num_tokens; ++t) {
        const float sum = sum_lanes(sums[r][t]);
        out[t][row + r] = ops::rounded(sum, rounding);
      }
    }
    row += count;
  }
}

}  // namespace fathom::cpu::HWY_NAMESPACE
#endif  // HWY_TARGET == HWY_AVX3_DL
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
