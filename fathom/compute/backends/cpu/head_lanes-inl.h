// Heads side by side in lanes: how attention and the indexer multiply one row with many queries.
//
// Lane l of a set of 16 belongs to head l. A row's numbers are broadcast, so a product is summed
// dimension by dimension and nothing is summed across a register.

// Not #pragma once: it is included once per target.
#if defined(FATHOM_CPU_HEAD_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_HEAD_LANES_INL_H_
#undef FATHOM_CPU_HEAD_LANES_INL_H_
#else
#define FATHOM_CPU_HEAD_LANES_INL_H_
#endif

#include <algorithm>

#include "fathom/compute/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::FATHOM_NAMESPACE {

// How many sums the registers hold: rows times sets of heads.
inline constexpr Index kSetsAtOnce = kRegisters == 1 ? 2 : 1;
inline constexpr Index kRowsAtOnce = kRegisters == 1 ? 8 : kRegisters == 2 ? 4 : 2;

// lanes[k * 16 + l] = heads[l][k] for `count` <= 16 heads, zeros in the lanes behind.
inline void spread_rows(const float* const* heads, Index count, Index width, float* lanes) {
  Index k = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::CappedTag<float, 4> d4;
  for (; k + 4 <= width; k += 4) {
    Index head = 0;
    for (; head + 4 <= count; head += 4) {
      const auto a = hn::LoadU(d4, heads[head] + k);
      const auto b = hn::LoadU(d4, heads[head + 1] + k);
      const auto c = hn::LoadU(d4, heads[head + 2] + k);
      const auto d = hn::LoadU(d4, heads[head + 3] + k);
      const auto ac_low = hn::InterleaveLower(d4, a, c);
      const auto ac_high = hn::InterleaveUpper(d4, a, c);
      const auto bd_low = hn::InterleaveLower(d4, b, d);
      const auto bd_high = hn::InterleaveUpper(d4, b, d);
      float* to = lanes + k * kLanes + head;
      hn::StoreU(hn::InterleaveLower(d4, ac_low, bd_low), d4, to);
      hn::StoreU(hn::InterleaveUpper(d4, ac_low, bd_low), d4, to + kLanes);
      hn::StoreU(hn::InterleaveLower(d4, ac_high, bd_high), d4, to + 2 * kLanes);
      hn::StoreU(hn::InterleaveUpper(d4, ac_high, bd_high), d4, to + 3 * kLanes);
    }
    for (; head < kLanes; ++head) {
      for (Index i = 0; i < 4; ++i) {
        lanes[(k + i) * kLanes + head] = head < count ? heads[head][k + i] : 0;
      }
    }
  }
#endif
  for (; k < width; ++k) {
    for (Index head = 0; head < kLanes; ++head) {
      lanes[k * kLanes + head] = head < count ? heads[head][k] : 0;
    }
  }
}

// The same for heads that stand one behind another.
inline void spread_heads(const float* heads, Index count, Index width, float* lanes) {
  const float* each[to_size(kLanes)] = {};
  for (Index head = 0; head < count; ++head) {
    each[head] = heads + head * width;
  }
  spread_rows(each, count, width, lanes);
}

// sums[r][s] = for each head of set s, rows[r] . head. Sets stand `set_stride` numbers apart.
template <Index kSets, Index kRows>
HWY_INLINE void multiply_rows(const float* const* rows,
                              const float* lanes,
                              Index set_stride,
                              Index width,
                              LaneSet (&sums)[to_size(kRows)][to_size(kSets)]) {
  const float* from[to_size(kRows)];
  for (Index r = 0; r < kRows; ++r) {
    from[r] = rows[r];
    for (Index s = 0; s < kSets; ++s) {
      sums[r][s] = zero_lanes();
    }
  }
  for (Index k = 0; k < width; ++k) {
    LaneSet queries[to_size(kSets)];
    for (Index s = 0; s < kSets; ++s) {
      queries[s] = load_lanes(lanes + s * set_stride + k * kLanes);
    }
    for (Index r = 0; r < kRows; ++r) {
      const V number = hn::Set(D(), from[r][k]);
      for (Index s = 0; s < kSets; ++s) {
        for (Index i = 0; i < kRegisters; ++i) {
          sums[r][s].v[i] = hn::MulAdd(queries[s].v[i], number, sums[r][s].v[i]);
        }
      }
    }
  }
}

// Pointers to rows [first, first + kCount) of which `end` is the last but one; the last one stands
// for those behind it, so that they can be computed and thrown away.
template <Index kCount, typename Number, typename RowOf>
HWY_INLINE void find_rows(const RowOf& row_of, Index first, Index end, const Number** rows) {
  for (Index r = 0; r < kCount; ++r) {
    rows[r] = row_of(std::min(first + r, end - 1));
  }
}

}  // namespace fathom::cpu::FATHOM_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
