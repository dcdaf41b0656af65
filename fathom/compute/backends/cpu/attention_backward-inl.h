// What the backward halves of attention share: products of heads with rows, the gradient of a
// softmax, and weighted sums of rows.

// Not #pragma once: it is included once per target.
#if defined(FATHOM_CPU_ATTENTION_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_ATTENTION_BACKWARD_INL_H_
#undef FATHOM_CPU_ATTENTION_BACKWARD_INL_H_
#else
#define FATHOM_CPU_ATTENTION_BACKWARD_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>

#include "fathom/compute/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {

// Rows that meet a head at a time.
inline constexpr Index kPairRows = 8;
// A weighted sum keeps so many results and registers of columns.
inline constexpr Index kSumResults = 4;
inline constexpr Index kSumColumns = kRegisters == 1 ? 4 : 2;
// Pointers to rows that a function keeps at a time.
inline constexpr Index kRowBlock = 64;

// One head: its query and the gradient of its result.
struct HeadPair {
  const float* query;
  const float* d_out;
};

// scores[r] = query . keys[r] and d_weights[r] = d_out . values[r] for kPairRows rows.
// kIsShared: keys are values.
template <bool kIsShared>
HWY_INLINE void multiply_pair(const HeadPair& head,
                              const float* const* keys,
                              const float* const* values,
                              Index width,
                              float* scores,
                              float* d_weights) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  // No function takes the sums by reference inside the loop: they would be stored in every turn.
  LaneSet sums[2 * kPairRows];
  for (Index r = 0; r < 2 * kPairRows; ++r) {
    sums[r] = zero_lanes();
  }
  Index k = 0;
  for (; k + kLanes <= width; k += kLanes) {
    const V query = hn::LoadU(D(), head.query + k);
    const V d_out = hn::LoadU(D(), head.d_out + k);
    for (Index r = 0; r < kPairRows; ++r) {
      const V key = hn::LoadU(D(), keys[r] + k);
      const V value = kIsShared ? key : hn::LoadU(D(), values[r] + k);
      sums[r].v[0] = hn::MulAdd(query, key, sums[r].v[0]);
      sums[kPairRows + r].v[0] = hn::MulAdd(d_out, value, sums[kPairRows + r].v[0]);
    }
  }
  if (k < width) {
    const auto mask = hn::FirstN(D(), to_size(width - k));
    const V query = hn::MaskedLoad(mask, D(), head.query + k);
    const V d_out = hn::MaskedLoad(mask, D(), head.d_out + k);
    for (Index r = 0; r < kPairRows; ++r) {
      const V key = hn::MaskedLoad(mask, D(), keys[r] + k);
      const V value = kIsShared ? key : hn::MaskedLoad(mask, D(), values[r] + k);
      sums[r].v[0] = hn::MulAdd(query, key, sums[r].v[0]);
      sums[kPairRows + r].v[0] = hn::MulAdd(d_out, value, sums[kPairRows + r].v[0]);
    }
  }
  HWY_ALIGN float both[kLanes];
  hn::Store(sum_16_lane_sets(sums), D(), both);
  std::copy_n(both, kPairRows, scores);
  std::copy_n(both + kPairRows, kPairRows, d_weights);
#else
  for (Index r = 0; r < kPairRows; ++r) {
    scores[r] = dot(head.query, keys[r], width);
    d_weights[r] = dot(head.d_out, values[r], width);
  }
#endif
}

struct SoftmaxGradient {
  float mean;  // of the gradients of the weights under the weights
  float sink;  // the sink's own weight
};

// One head's softmax and the way back through it, in place: `scores`, still to be scaled, become
// weights, and `d_weights` the gradients of the scores. Both have room for whole lane sets; `sink`
// widens the denominator, minus infinity not at all.
HWY_INLINE SoftmaxGradient
soften_backward(Index num_rows, float scale, float sink, float* scores, float* d_weights) {
  const float minus_infinity = -std::numeric_limits<float>::infinity();
  const Index padded = ceil_div(num_rows, kLanes) * kLanes;
  std::fill(scores + num_rows, scores + padded, minus_infinity);
  std::fill(d_weights + num_rows, d_weights + padded, 0.0F);
  const V factor = hn::Set(D(), scale);
  V most = hn::Set(D(), minus_infinity);
  for (Index i = 0; i < padded; i += kWidth) {
    const V score = hn::Mul(hn::LoadU(D(), scores + i), factor);
    hn::StoreU(score, D(), scores + i);
    most = hn::Max(most, score);
  }
  const V largest = hn::MaxOfLanes(D(), most);
  V sums = hn::Zero(D());
  V weighted = hn::Zero(D());
  for (Index i = 0; i < padded; i += kWidth) {
    const V weight = exp_of(hn::Sub(hn::LoadU(D(), scores + i), largest));
    sums = hn::Add(sums, weight);
    weighted = hn::MulAdd(weight, hn::LoadU(D(), d_weights + i), weighted);
    hn::StoreU(weight, D(), scores + i);
  }
  const float sink_weight = std::exp(sink - hn::GetLane(largest));
  const float share = 1.0F / (hn::GetLane(hn::SumOfLanes(D(), sums)) + sink_weight);
  const float mean = hn::GetLane(hn::SumOfLanes(D(), weighted)) * share;
  const V shares = hn::Set(D(), share);
  const V means = hn::Set(D(), mean);
  for (Index i = 0; i < padded; i += kWidth) {
    const V weight = hn::Mul(hn::LoadU(D(), scores + i), shares);
    hn::StoreU(weight, D(), scores + i);
    const V difference = hn::Sub(hn::LoadU(D(), d_weights + i), means);
    hn::StoreU(hn::Mul(hn::Mul(factor, weight), difference), D(), d_weights + i);
  }
  return {mean, sink_weight * share};
}

// results[i] += sum_k weights[i * result_stride + k * row_stride] rows[k].
struct WeightedRows {
  const float* const* rows;
  Index count;
  const float* weights;
  Index result_stride;
  Index row_stride;
};

// kResults results and kColumns registers from `column`.
template <Index kResults, Index kColumns>
HWY_INLINE void add_sums(const WeightedRows& from, float* const* results, Index column) {
  V sums[to_size(kResults)][to_size(kColumns)];
  for (Index i = 0; i < kResults; ++i) {
    for (Index c = 0; c < kColumns; ++c) {
      sums[i][c] = hn::LoadU(D(), results[i] + column + c * kWidth);
    }
  }
  for (Index k = 0; k < from.count; ++k) {
    const float* row = from.rows[k] + column;
    const float* weights = from.weights + k * from.row_stride;
    V numbers[to_size(kColumns)];
    for (Index c = 0; c < kColumns; ++c) {
      numbers[c] = hn::LoadU(D(), row + c * kWidth);
    }
    for (Index i = 0; i < kResults; ++i) {
      const V weight = hn::Set(D(), weights[i * from.result_stride]);
      for (Index c = 0; c < kColumns; ++c) {
        sums[i][c] = hn::MulAdd(weight, numbers[c], sums[i][c]);
      }
    }
  }
  for (Index i = 0; i < kResults; ++i) {
    for (Index c = 0; c < kColumns; ++c) {
      hn::StoreU(sums[i][c], D(), results[i] + column + c * kWidth);
    }
  }
}

// kResults results, columns [first, end).
template <Index kResults>
HWY_INLINE void add_columns(const WeightedRows& from,
                            float* const* results,
                            Index first,
                            Index end) {
  Index c = first;
  for (; c + kSumColumns * kWidth <= end; c += kSumColumns * kWidth) {
    add_sums<kResults, kSumColumns>(from, results, c);
  }
  for (; c + kWidth <= end; c += kWidth) {
    add_sums<kResults, 1>(from, results, c);
  }
  for (; c < end; ++c) {
    for (Index i = 0; i < kResults; ++i) {
      float sum = results[i][c];
      for (Index k = 0; k < from.count; ++k) {
        sum = std::fma(from.weights[i * from.result_stride + k * from.row_stride], from.rows[k][c],
                       sum);
      }
      results[i][c] = sum;
    }
  }
}

// All results, columns [first, end).
inline void add_weighted_rows(
    WeightedRows from, float* const* results, Index num_results, Index first, Index end) {
  const float* weights = from.weights;
  Index i = 0;
  const auto add = [&](auto at_once) {
    constexpr Index kResults = decltype(at_once)::value;
    for (; i + kResults <= num_results; i += kResults) {
      from.weights = weights + i * from.result_stride;
      add_columns<kResults>(from, results + i, first, end);
    }
  };
  add(std::integral_constant<Index, kSumResults>());
  add(std::integral_constant<Index, 2>());
  add(std::integral_constant<Index, 1>());
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
