// Scores of compressed blocks for one token of the lightning indexer: of keys of fp32 numbers, and
// of keys of 8-bit codes.
//
// Heads lie in lanes. Of fp32 numbers a product is summed dimension by dimension; of codes its sum
// is an integer, which is exact, so four of a key's codes are multiplied at a time.

// Not #pragma once: it is included once per target.
#if defined(FATHOM_CPU_INDEX_SCORES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_INDEX_SCORES_INL_H_
#undef FATHOM_CPU_INDEX_SCORES_INL_H_
#else
#define FATHOM_CPU_INDEX_SCORES_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "fathom/compute/backends/cpu/head_lanes-inl.h"
#include "fathom/compute/backends/cpu/int8_panels-inl.h"
#include "fathom/compute/backends/cpu/int8_rounding-inl.h"
#include "fathom/compute/numeric/int8_rows.h"
#include "fathom/compute/ops/index_select.h"

FATHOM_BEFORE_DOT_NAMESPACE();
namespace fathom::cpu::FATHOM_NAMESPACE {

// One token's part of the scratch: sets of 16 heads, then the scores.
struct Lanes {
  Index width;
  float* sets;
  float* scores;
  Index set_stride;

  float* set(Index idx) const { return sets + idx * set_stride; }
};

template <typename Key>
Lanes lanes_of(const ops::IndexSelectArgs<float, Key>& args,
               float* scratch,
               Index slot,
               Index most) {
  const Index width = args.width();
  const Index set_stride = args.set_numbers(width);
  const Index num_sets = ceil_div(args.num_heads(), kLanes);
  const Index num_scores = ceil_div(most, kLanes) * kLanes;
  float* sets = scratch + slot * (num_sets * set_stride + num_scores);
  return {width, sets, sets + num_sets * set_stride, set_stride};
}

// --- fp32 numbers. A set: its queries, then its weights.

inline void spread_token(const ops::IndexSelectArgs<float>& args, Index token, const Lanes& lanes) {
  const Index width = lanes.width;
  for (Index head = 0; head < args.num_heads(); head += kLanes) {
    float* set = lanes.set(head / kLanes);
    const Index count = std::min(kLanes, args.num_heads() - head);
    spread_heads(args.query.row(token) + head * width, count, width, set);
    float* weights = std::copy_n(args.weight.row(token) + head, count, set + width * kLanes);
    std::fill(weights, weights + kLanes - count, 0.0F);
  }
}

// total += weight * relu(product) for the heads of one set, `count` of which are real.
HWY_INLINE void add_heads(const LaneSet& products,
                          const float* weights,
                          Index count,
                          ops::Rounding rounding,
                          LaneSet& total) {
  for (Index i = 0; i < kRegisters; ++i) {
    const V product = rounded(products.v[i], rounding);
    const V positive = hn::IfThenZeroElse(hn::Lt(product, hn::Zero(D())), product);
    const V term = rounded(hn::Mul(positive, hn::LoadU(D(), weights + i * kWidth)), rounding);
    // A key that is not finite makes a NaN of heads that are not there.
    const Index num_real = std::clamp<Index>(count - i * kWidth, 0, kWidth);
    const auto is_real = hn::FirstN(D(), static_cast<std::size_t>(num_real));
    total.v[i] = hn::Add(total.v[i], hn::IfThenElseZero(is_real, term));
  }
}

// Sets [first, first + kSets) of kRowsAtOnce keys.
template <Index kSets>
HWY_INLINE void add_sets(const ops::IndexSelectArgs<float>& args,
                         const Lanes& lanes,
                         const float* const* keys,
                         Index first,
                         LaneSet (&totals)[to_size(kRowsAtOnce)]) {
  const Index width = lanes.width;
  const float* queries = lanes.set(first);
  LaneSet products[to_size(kRowsAtOnce)][to_size(kSets)];
  multiply_rows<kSets, kRowsAtOnce>(keys, queries, lanes.set_stride, width, products);
  for (Index r = 0; r < kRowsAtOnce; ++r) {
    for (Index s = 0; s < kSets; ++s) {
      add_heads(products[r][s], queries + s * lanes.set_stride + width * kLanes,
                args.num_heads() - (first + s) * kLanes, args.rounding, totals[r]);
    }
  }
}

HWY_INLINE float finished_score(const ops::IndexSelectArgs<float>& args,
                                const float* /*key*/,
                                Index /*width*/,
                                float score) {
  return args.rounding == ops::Rounding::Bf16 ? hn::GetLane(round_bf16(hn::Set(D(), score)))
                                              : score;
}

// --- 8-bit codes.

// A set of queries. Codes are counted from the middle of their range, so that they have a sign, and
// `zeros` is what is added to them, `sums` is of them. Weights are times the queries' scales.
struct CodedSet {
  static constexpr std::int32_t kMiddle = static_cast<std::int32_t>(numeric::kInt8CodeRange) / 2;
  static constexpr Index kFixedFloats = 3 * kLanes;

  explicit CodedSet(float* set)
      : weights(set),
        zeros(reinterpret_cast<std::int32_t*>(set + kLanes)),
        sums(reinterpret_cast<std::int32_t*>(set + 2 * kLanes)),
        codes(reinterpret_cast<PanelCode*>(set + kFixedFloats)) {}

  float* weights;
  std::int32_t* zeros;
  std::int32_t* sums;
  PanelCode* codes;  // [step][head][code of the step]
};

inline Index num_steps(Index width) {
  return numeric::int8_row_codes(width) / kStepColumns;
}

// A query's codes as they lie in a set; `bytes` has room for them in a row.
inline void spread_query(
    const float* query, Index width, Index head, std::uint8_t* bytes, CodedSet& set) {
  const numeric::RoundedBlock block = width % kWidth == 0
                                          ? round_block(query, width, bytes)
                                          : numeric::round_to_int8_block(query, width, bytes);
  for (Index i = 0; i < width; ++i) {
    set.codes[i / kStepColumns * kStepBytes + head * kStepColumns + i % kStepColumns] =
        static_cast<PanelCode>(bytes[i] - CodedSet::kMiddle);
  }
  set.zeros[head] = CodedSet::kMiddle - block.zero;
  set.sums[head] = block.sum - static_cast<std::int32_t>(width) * set.zeros[head];
  set.weights[head] *= block.scale;
}

inline void spread_token(const ops::Int8IndexSelectArgs<float>& args,
                         Index token,
                         const Lanes& lanes) {
  const Index width = lanes.width;
  const Index num_codes = num_steps(width) * kStepBytes;
  for (Index first = 0; first < args.num_heads(); first += kLanes) {
    CodedSet set(lanes.set(first / kLanes));
    const Index count = std::min(kLanes, args.num_heads() - first);
    std::fill_n(set.weights, CodedSet::kFixedFloats, 0.0F);
    std::fill_n(set.codes, num_codes, PanelCode{0});
    std::copy_n(args.weight.row(token) + first, count, set.weights);
    auto* bytes = reinterpret_cast<std::uint8_t*>(set.codes + num_codes);
    for (Index head = 0; head < count; ++head) {
      spread_query(args.query.row(token) + (first + head) * width, width, head, bytes, set);
    }
  }
}

// Sets [first, first + kSets) of kRowsAtOnce keys.
template <Index kSets>
HWY_INLINE void add_sets(const ops::Int8IndexSelectArgs<float>& /*args*/,
                         const Lanes& lanes,
                         const std::uint8_t* const* keys,
                         Index first,
                         LaneSet (&totals)[to_size(kRowsAtOnce)]) {
  const Index width = lanes.width;
  const Index steps = num_steps(width);
  numeric::RoundedBlock blocks[to_size(kRowsAtOnce)];
  for (Index r = 0; r < kRowsAtOnce; ++r) {
    blocks[r] = numeric::block_of_int8_row(keys[r], width);
  }
  for (Index i = 0; i < kRegisters; ++i) {
    Products products[to_size(kRowsAtOnce)][to_size(kSets)];
    const auto add_step = [&](Index step) {
      const Index at = step * kStepBytes + i * kWidth * kStepColumns;
#pragma GCC unroll 8
      for (Index r = 0; r < kRowsAtOnce; ++r) {
        ColumnCode four[kStepColumns];
        std::copy_n(keys[r] + step * kStepColumns, kStepColumns, four);
        const Products::Columns columns = Products::columns(four);
#pragma GCC unroll 2
        for (Index s = 0; s < kSets; ++s) {
          products[r][s].add(Products::load(CodedSet(lanes.set(first + s)).codes + at), columns);
        }
      }
    };
    // Several at a time, or g++ copies every sum from register to register behind each.
    Index step = 0;
    for (; step + kSteps <= steps; step += kSteps) {
#pragma GCC unroll 8
      for (Index next = 0; next < kSteps; ++next) {
        add_step(step + next);
      }
    }
    for (; step < steps; ++step) {
      add_step(step);
    }
    for (Index s = 0; s < kSets; ++s) {
      const CodedSet set(lanes.set(first + s));
      const V32 zeros = hn::LoadU(D32(), set.zeros + i * kWidth);
      const V32 sums = hn::LoadU(D32(), set.sums + i * kWidth);
      const V weights = hn::LoadU(D(), set.weights + i * kWidth);
#pragma GCC unroll 8
      for (Index r = 0; r < kRowsAtOnce; ++r) {
        // With q and k codes, and z what is added to them: the sum of (q + z_q) (k + z_k).
        const V32 of_keys = hn::Mul(zeros, hn::Set(D32(), blocks[r].sum));
        const V32 of_queries =
            hn::Mul(sums, hn::Set(D32(), blocks[r].zero - Products::kColumnShift));
        const V32 whole = hn::Sub(hn::Add(products[r][s].total(), of_keys), of_queries);
        const V positive = hn::ConvertTo(D(), hn::Max(whole, hn::Zero(D32())));
        totals[r].v[i] = hn::MulAdd(weights, positive, totals[r].v[i]);
      }
    }
  }
}

HWY_INLINE float finished_score(const ops::Int8IndexSelectArgs<float>& /*args*/,
                                const std::uint8_t* key,
                                Index width,
                                float score) {
  return score * numeric::block_of_int8_row(key, width).scale;
}

// --- Both.

// Asks for rows that are scored soon. Pages lie anywhere in memory, so a processor does not find
// the next by itself.
template <typename Key>
HWY_INLINE void fetch_keys(const ops::IndexSelectArgs<float, Key>& args,
                           Index token,
                           Index first,
                           Index end) {
  const Index row_bytes = args.keys.width * Index{sizeof(Key)};
  for (Index block = first; block < end; ++block) {
    const auto* key = reinterpret_cast<const std::uint8_t*>(args.key(token, block));
    for (Index at = 0; at < row_bytes; at += kLineBytes) {
      fetch_ahead(key + at);
    }
  }
}

struct BlockRange {
  Index first;
  Index end;
  bool is_first_read;  // of the token's tile
};

template <typename Key>
void score_blocks(const ops::IndexSelectArgs<float, Key>& args,
                  Index token,
                  const Lanes& lanes,
                  const BlockRange& range) {
  constexpr Index kRowsAhead = 4 * kRowsAtOnce;
  const auto [first, end, is_first_read] = range;
  const Index num_visible = args.num_visible[to_size(token)];
  const Index num_sets = ceil_div(args.num_heads(), kLanes);
  for (Index block = first; block < end; block += kRowsAtOnce) {
    const Key* keys[to_size(kRowsAtOnce)];
    find_rows<kRowsAtOnce>([&](Index idx) { return args.key(token, idx); }, block, end, keys);
    if (is_first_read) {
      fetch_keys(args, token, block + kRowsAhead,
                 std::min(block + kRowsAhead + kRowsAtOnce, num_visible));
    }
    LaneSet totals[to_size(kRowsAtOnce)];
    for (Index r = 0; r < kRowsAtOnce; ++r) {
      totals[r] = zero_lanes();
    }
    Index set = 0;
    for (; set + kSetsAtOnce <= num_sets; set += kSetsAtOnce) {
      add_sets<kSetsAtOnce>(args, lanes, keys, set, totals);
    }
    for (; set < num_sets; ++set) {
      add_sets<1>(args, lanes, keys, set, totals);
    }
    for (Index r = 0; r < std::min(kRowsAtOnce, end - block); ++r) {
      lanes.scores[block + r] = finished_score(args, keys[r], lanes.width, sum_lanes(totals[r]));
    }
  }
}

}  // namespace fathom::cpu::FATHOM_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
