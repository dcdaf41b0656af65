// Products of many tokens with rows of weights in the K-order, lane after lane.
//
// The 16 lanes of a dot product (docs/numerics.md) are sums of their own. So a panel holds some
// rows of weights, their numbers of lane 0 first, then lane 1: a register has the same number of
// many rows, and a lane's sums of many rows and tokens are added up like any product of matrices
// (matrix_tiles-inl.h). Lanes come in the order in which they are added to each other, so the tree
// of 16 is folded while it grows, register by register. Every sum is that of linear.cc, bit by bit.
#if defined(FATHOM_CPU_LANE_PANELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_LANE_PANELS_INL_H_
#undef FATHOM_CPU_LANE_PANELS_INL_H_
#else
#define FATHOM_CPU_LANE_PANELS_INL_H_
#endif

#include <algorithm>
#include <cstring>

#include "fathom/compute/backends/cpu/decode-inl.h"
#include "fathom/compute/backends/cpu/matrix_tiles-inl.h"
#include "fathom/compute/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {

// A panel of so few registers of rows has so many columns at most; a narrower one may have more
// rows. One register of rows is not worth its packing.
inline constexpr Index kLeastPanelVectors = 2;
inline constexpr Index kLanePanelColumns = 4096;
// Lanes do not begin at multiples of 4096 bytes from each other, which would share a place in the
// cache.
inline constexpr Index kLanePadding = 16;
inline constexpr Index kLanePanelNumbers =
    kLeastPanelVectors * kWidth * kLanePanelColumns + kLanes * kLanePadding;
// Lanes read a part of the tokens' columns again and again, which fills half of a small first-level
// cache.
inline constexpr Index kPartSteps = 32;
// Numbers of a row that are decoded at a time: a multiple of every format's block.
inline constexpr Index kLaneChunk = 256;

// How a matrix is laid out.
struct LaneLayout {
  Index columns;
  Index vectors;  // registers of rows

  // A matrix that is too wide or has too few rows has no panels. One register fewer, where more
  // than a sixteenth of the rows would only fill up the last panel.
  static HWY_INLINE LaneLayout of(Index rows, Index columns) {
    const Index padded = ceil_div(columns, kLanes) * kLanes;
    const Index most = std::min(kPanelVectors, kLeastPanelVectors * kLanePanelColumns / padded);
    if (most < kLeastPanelVectors || rows < kLeastPanelVectors * kLanes) {
      return {columns, 0};
    }
    const auto filled_up = [rows](Index vectors) {
      return ceil_div(rows, vectors * kWidth) * vectors * kWidth;
    };
    const Index fewer = std::max(most - 1, kLeastPanelVectors);
    return {columns, filled_up(most) > filled_up(fewer) * 17 / 16 ? fewer : most};
  }
  HWY_INLINE Index rows() const { return vectors * kWidth; }
  HWY_INLINE Index steps() const { return ceil_div(columns, kLanes); }
  HWY_INLINE Index stride() const { return steps() * rows() + kLanePadding; }
  HWY_INLINE Index place(Index row, Index column) const {
    return column % kLanes * stride() + column / kLanes * rows() + row;
  }
};

inline constexpr Index kFloatBytes = 4;

// Four rows of `count` fp32 numbers from `column` on. Those of a file need not be aligned.
HWY_INLINE void pack_four_rows(const LaneLayout& layout,
                               const std::uint8_t* const* from,
                               Index row,
                               Index column,
                               Index count,
                               float* panel) {
  Index k = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> d4;
  for (; k + 4 <= count; k += 4) {
    const auto load = [&](Index r) HWY_ATTR {
      return hn::LoadU(d4, reinterpret_cast<const float*>(from[r] + k * kFloatBytes));
    };
    const auto a = load(0);
    const auto b = load(1);
    const auto c = load(2);
    const auto d = load(3);
    const auto ac_low = hn::InterleaveLower(d4, a, c);
    const auto ac_high = hn::InterleaveUpper(d4, a, c);
    const auto bd_low = hn::InterleaveLower(d4, b, d);
    const auto bd_high = hn::InterleaveUpper(d4, b, d);
    float* to = panel + layout.place(row, column + k);
    const Index stride = layout.stride();
    hn::StoreU(hn::InterleaveLower(d4, ac_low, bd_low), d4, to);
    hn::StoreU(hn::InterleaveUpper(d4, ac_low, bd_low), d4, to + stride);
    hn::StoreU(hn::InterleaveLower(d4, ac_high, bd_high), d4, to + 2 * stride);
    hn::StoreU(hn::InterleaveUpper(d4, ac_high, bd_high), d4, to + 3 * stride);
  }
#endif
  for (; k < count; ++k) {
    for (Index r = 0; r < 4; ++r) {
      std::memcpy(panel + layout.place(row + r, column + k), from[r] + k * kFloatBytes,
                  kFloatBytes);
    }
  }
}

// Rows [first_row, first_row + num_rows) of the weight as a panel. Where there are none, any
// numbers will do: those rows' sums are dropped.
inline void pack_lanes(const LaneLayout& layout,
                       const numeric::WeightView& weight,
                       Index first_row,
                       Index num_rows,
                       float* panel) {
  HWY_ALIGN float decoded[4][kLaneChunk];
  const bool is_decoded = weight.format != numeric::WeightFormat::F32;
  for (Index column = 0; column < weight.columns; column += kLaneChunk) {
    const Index count = std::min(kLaneChunk, weight.columns - column);
    for (Index row = 0; row < layout.rows(); row += 4) {
      const std::uint8_t* from[4];
      for (Index r = 0; r < 4; ++r) {
        const Index at = first_row + std::min(row + r, num_rows - 1);
        from[r] = reinterpret_cast<const std::uint8_t*>(decoded[r]);
        if (is_decoded) {
          decode_chunk(weight, at, column, count, decoded[r]);
        } else {
          from[r] = bytes_at(weight, at, kFloatBytes * column);
        }
      }
      pack_four_rows(layout, from, row, column, count, panel);
    }
  }
}

// Sums of kGroupRows tokens and a panel's rows while their lanes are folded.
template <Index kVectors>
struct LaneFold {
  static constexpr Index kRows = kVectors * kWidth;
  static constexpr Index kNumbers = kGroupRows * kRows;

  // What lanes have of the parts before this one.
  alignas(64) float begun[kLanes][to_size(kNumbers)];
  // What is folded so far of 1, 2, 4 and 8 lanes, and of all.
  alignas(64) float levels[5][to_size(kNumbers)];

  // levels[level] += 0, then levels[0] + that, levels[1] + that and so on.
  HWY_INLINE void add_zero_and_below(Index level) {
    for (Index i = 0; i < kNumbers; i += kWidth) {
      V sum = hn::Add(hn::Load(D(), levels[level] + i), hn::Zero(D()));
      for (Index below = 0; below < level; ++below) {
        sum = hn::Add(hn::Load(D(), levels[below] + i), sum);
      }
      hn::Store(sum, D(), levels[level] + i);
    }
  }
};

// What one lane adds up in a part of the columns: steps of a panel, and rows of x from `first` on.
struct LaneProducts {
  const float* numbers;
  const float* const* rows;
  Index first;
  Index count;
  const float* ahead;
  const float* begun;  // the lane's sums of the parts before; none in the first
};

template <Index kVectors, typename Finish>
HWY_INLINE void multiply_part(const LaneProducts& lane, const Finish& finish) {
  const auto at = [](Index i, Index v) { return (i * kVectors + v) * kWidth; };
  multiply_tile<kVectors, kLanes>(
      lane.numbers, lane.rows, lane.first, lane.count, lane.ahead,
      [&](Index i, Index v) {
        V sum = hn::Zero(D());
        if (lane.begun != nullptr) {
          sum = hn::Load(D(), lane.begun + at(i, v));
        }
        return sum;
      },
      [&](Index i, Index v, V sum) { finish(at(i, v), sum); });
}

// fold.levels[kLevel] = a lane's sums, folded with the kLevel levels below.
template <Index kVectors, Index kLevel>
HWY_INLINE void multiply_lane(const LaneProducts& lane, LaneFold<kVectors>& fold) {
  multiply_part<kVectors>(lane, [&](Index at, V sum) {
    for (Index below = 0; below < kLevel; ++below) {
      sum = hn::Add(hn::Load(D(), fold.levels[below] + at), sum);
    }
    hn::Store(sum, D(), fold.levels[kLevel] + at);
  });
}

// The same for a lane that ends with the product of zeros behind the row.
template <Index kVectors>
HWY_INLINE void multiply_padded_lane(const LaneProducts& lane,
                                     Index level,
                                     LaneFold<kVectors>& fold) {
  multiply_part<kVectors>(lane,
                          [&](Index at, V sum) { hn::Store(sum, D(), fold.levels[level] + at); });
  fold.add_zero_and_below(level);
}

// What folds a lane of the last part into those before it. Lanes that are complete below it: as
// many as its place in the order ends in ones.
template <Index kVectors>
HWY_INLINE void fold_lane(const LaneProducts& lane,
                          Index place,
                          bool is_padded,
                          LaneFold<kVectors>& fold) {
  Index level = 0;
  while ((place >> level & 1) != 0) {
    ++level;
  }
  if (is_padded) {
    return multiply_padded_lane(lane, level, fold);
  }
  switch (level) {
    case 0:
      return multiply_lane<kVectors, 0>(lane, fold);
    case 1:
      return multiply_lane<kVectors, 1>(lane, fold);
    case 2:
      return multiply_lane<kVectors, 2>(lane, fold);
    case 3:
      return multiply_lane<kVectors, 3>(lane, fold);
    default:
      return multiply_lane<kVectors, 4>(lane, fold);
  }
}

// fold.levels[4] = all sums of kGroupRows tokens, row i of x at x[i], with a panel's rows. `next`
// are the tokens after them. What comes next is fetched, half of a row's part beside each lane.
template <Index kVectors>
HWY_INLINE void multiply_lanes(const LaneLayout& layout,
                               const float* panel,
                               const float* const* x,
                               const float* const* next,
                               LaneFold<kVectors>& fold) {
  constexpr Index kOrder[kLanes] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};
  const Index tail = layout.columns % kLanes;
  const Index num_steps = layout.steps();
  const Index part_steps = even_part(num_steps, kPartSteps);
  for (Index first = 0; first < num_steps; first += part_steps) {
    const Index count = std::min(part_steps, num_steps - first);
    const bool is_last = first + count == num_steps;
    for (Index idx = 0; idx < kLanes; ++idx) {
      const Index lane = kOrder[idx];
      const bool is_padded = is_last && tail != 0 && lane >= tail;
      const float* after = (is_last ? next : x)[idx / 2 % kGroupRows];
      const LaneProducts products = {
          panel + lane * layout.stride() + first * layout.rows(),
          x,
          first * kLanes + lane,
          count - (is_padded ? 1 : 0),
          after + (is_last ? 0 : first + count) * kLanes + idx % 2 * part_steps * kAheadStep,
          first == 0 ? nullptr : fold.begun[lane]};
      if (is_last) {
        fold_lane(products, idx, is_padded, fold);
      } else {
        multiply_part<kVectors>(
            products, [&](Index at, V sum) { hn::Store(sum, D(), fold.begun[lane] + at); });
      }
    }
  }
}

// to[i] = sums of one token, i < count <= kRows.
template <Index kRows>
HWY_INLINE void store_sums(const float* sums, Index count, ops::Rounding rounding, float* to) {
  if (count == kRows && rounding == ops::Rounding::None) {
    for (Index i = 0; i < kRows; i += kWidth) {
      hn::StoreU(hn::Load(D(), sums + i), D(), to + i);
    }
    return;
  }
  map_row(count, to, [&](const auto& load) { return rounded(load(sums), rounding); });
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
