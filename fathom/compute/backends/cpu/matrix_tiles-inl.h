// Products of fp32 matrices in tiles of registers: rows of single numbers times a panel of columns.
//
// A panel holds a few registers' columns of one factor, row after row, so that the innermost loop
// reads it in order. Every sum is added up row by row of the panel, whatever the tile: callers
// choose tiles by the sizes of the problem alone, and results depend on nothing else.
#if defined(FATHOM_CPU_MATRIX_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_MATRIX_TILES_INL_H_
#undef FATHOM_CPU_MATRIX_TILES_INL_H_
#else
#define FATHOM_CPU_MATRIX_TILES_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <hwy/cache_control.h>

#include "fathom/compute/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {

// Sums, a row of the panel and a number fit the registers: 32 of them, or 16.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_NEON
inline constexpr Index kGroupRows = 8;
#else
inline constexpr Index kGroupRows = 4;
#endif
inline constexpr Index kPanelVectors = 3;
inline constexpr Index kPanelColumns = kPanelVectors * kWidth;

// One row of a panel: `count` numbers, and zeros up to whole registers. Numbers of a file need not
// be aligned.
HWY_INLINE void pack_panel_row(const float* from, Index count, float* to) {
  Index i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    hn::Store(hn::LoadU(D(), from + i), D(), to + i);
  }
  if (i < count) {
    hn::Store(hn::Zero(D()), D(), to + i);
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(from);
    std::memcpy(to + i, bytes + to_size(i) * sizeof(float), to_size(count - i) * sizeof(float));
  }
}

// finish(i, v, sum) for every row i and register v of columns, both constants to the compiler:
// start(i, v) + sum_k rows[i][first + k * kStep] * panel[k], k in [0, count).
//
//   panel  [count, kVectors * kWidth], aligned to its registers   rows  kGroupRows pointers
//   ahead  [count * kAheadStep], fetched meanwhile: what the next tile begins with
inline constexpr Index kAheadStep = 8;
template <Index kVectors, Index kStep, typename Start, typename Finish>
// NOLINTNEXTLINE(readability-function-size): inlined; its arguments stay in registers
HWY_INLINE void multiply_tile(const float* HWY_RESTRICT panel,
                              const float* const* rows,
                              Index first,
                              Index count,
                              const float* ahead,
                              const Start& start,
                              const Finish& finish) {
  V sum[kGroupRows][to_size(kVectors)];
  const float* row[kGroupRows];
  for (Index i = 0; i < kGroupRows; ++i) {
    row[i] = rows[i];
    for (Index v = 0; v < kVectors; ++v) {
      sum[i][v] = start(i, v);
    }
  }
  for (Index k = 0; k < count; ++k) {
    hwy::Prefetch(ahead + k * kAheadStep);
    V columns[to_size(kVectors)];
    for (Index v = 0; v < kVectors; ++v) {
      columns[v] = hn::Load(D(), panel + (k * kVectors + v) * kWidth);
    }
    for (Index i = 0; i < kGroupRows; ++i) {
      const V number = hn::Set(D(), row[i][first + k * kStep]);
      for (Index v = 0; v < kVectors; ++v) {
        sum[i][v] = hn::MulAdd(columns[v], number, sum[i][v]);
      }
    }
  }
  for (Index i = 0; i < kGroupRows; ++i) {
    for (Index v = 0; v < kVectors; ++v) {
      finish(i, v, sum[i][v]);
    }
  }
}

// The sums of a tile in memory.
template <Index kVectors>
struct TileSums {
  alignas(64) float rows[kGroupRows][to_size(kVectors * kWidth)];
};

template <Index kVectors, Index kStep>
HWY_INLINE void multiply_tile(const float* HWY_RESTRICT panel,
                              const float* const* rows,
                              Index count,
                              const float* ahead,
                              TileSums<kVectors>& sums) {
  multiply_tile<kVectors, kStep>(
      panel, rows, 0, count, ahead, [](Index, Index) { return hn::Zero(D()); },
      [&](Index i, Index v, V sum) { hn::Store(sum, D(), sums.rows[i] + v * kWidth); });
}

// Fetches what add_sums() is going to change. A tile's loop is too long to look behind it.
template <Index kVectors>
HWY_INLINE void prefetch_sums(const float* to) {
  for (Index v = 0; v < kVectors; ++v) {
    hwy::Prefetch(to + v * kWidth);
  }
}

// to[column] += sums of one row, for `count` columns.
template <Index kVectors>
HWY_INLINE void add_sums(const float* sums, Index count, float* to) {
  if (count == kVectors * kWidth) {
    for (Index i = 0; i < kVectors * kWidth; i += kWidth) {
      hn::StoreU(hn::Add(hn::LoadU(D(), to + i), hn::Load(D(), sums + i)), D(), to + i);
    }
    return;
  }
  for (Index i = 0; i < count; ++i) {
    to[i] += sums[i];
  }
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
