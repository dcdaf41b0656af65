// Scores of compressed blocks for one token of the lightning indexer: of keys of fp32 numbers, and
// of keys of 16-bit codes.
//
// Heads lie in lanes. Of fp32 numbers a product is summed dimension by dimension; of codes its sum
// is an integer, which is exact, so two of a key's codes are multiplied at a time.

// Not #pragma once: it is included once per target.
#if defined(FATHOM_CPU_INDEX_SCORES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_INDEX_SCORES_INL_H_
#undef FATHOM_CPU_INDEX_SCORES_INL_H_
#else
#define FATHOM_CPU_INDEX_SCORES_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "fathom/compute/backends/cpu/head_lanes-inl.h"
#include "fathom/compute/numeric/int16_rows.h"
#include "fathom/compute/ops/index_select.h"

#if HWY_TARGET == HWY_AVX3_DL
#include <immintrin.h>
#endif

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

// --- 16-bit codes.

using D32 = hn::RebindToSigned<D>;
using V32 = hn::Vec<D32>;
inline constexpr Index kPair = numeric::kInt16RowStep;

// The sums of products of pairs of codes: of kWidth heads, from where the first of them is, and of
// a key.
#if HWY_TARGET == HWY_SCALAR

struct PairSum {
  HWY_INLINE void add(const std::int16_t* heads, const std::int16_t* key) {
    sum += std::int32_t{heads[0]} * key[0] + std::int32_t{heads[1]} * key[1];
  }
  HWY_INLINE V32 total() const { return hn::Set(D32(), sum); }
  std::int32_t sum = 0;
};

#else

struct PairSum {
  using D16 = hn::Repartition<std::int16_t, D32>;
  HWY_INLINE PairSum() : even(hn::Zero(D32())), odd(hn::Zero(D32())) {}
  HWY_INLINE void add(const std::int16_t* heads, const std::int16_t* key) {
    std::int32_t pair;
    std::memcpy(&pair, key, sizeof(pair));
    const auto codes = hn::LoadU(D16(), heads);
    const auto pairs = hn::BitCast(D16(), hn::Set(D32(), pair));
#if HWY_TARGET == HWY_AVX3_DL  // Debian 12's Highway takes two instructions
    even.raw = _mm512_dpwssd_epi32(even.raw, codes.raw, pairs.raw);
#else
    even = hn::ReorderWidenMulAccumulate(D32(), codes, pairs, even, odd);
#endif
  }
  // Highway leaves open which product of a pair goes to which sum until both are added up.
  HWY_INLINE V32 total() const {
    return hn::RearrangeToOddPlusEven(even, odd);
  }
  V32 even;
  V32 odd;
};

#endif

// A set of queries: weights, times the queries' scales, and codes.
struct CodedSet {
  explicit CodedSet(float* set)
      : weights(set), codes(reinterpret_cast<std::int16_t*>(set + kLanes)) {}

  float* weights;
  std::int16_t* codes;  // [pair of dimensions][head][of the pair]
};

// As numeric::round_to_int16_row.
inline float round_row(const float* x, Index width, std::int16_t* codes) {
  if (width % kWidth != 0) {
    return numeric::round_to_int16_row(x, width, codes);
  }
  V most = hn::Zero(D());
  bool is_finite = true;
  for (Index i = 0; i < width; i += kWidth) {
    const V value = hn::LoadU(D(), x + i);
    is_finite = is_finite && hn::AllTrue(D(), hn::IsFinite(value));
    most = hn::Max(most, hn::Abs(value));
  }
  const float largest = hn::GetLane(hn::MaxOfLanes(D(), most));
  if (!is_finite || !(largest > numeric::kSmallestRowNumber)) {
    return numeric::round_to_int16_row(x, width, codes);
  }
  const hn::Rebind<std::int16_t, D> d16;
  const V factor = hn::Set(D(), numeric::kLargestRowCode / largest);
  for (Index i = 0; i < width; i += kWidth) {
    const V multiple = hn::Round(hn::Mul(hn::LoadU(D(), x + i), factor));
    hn::StoreU(hn::DemoteTo(d16, hn::ConvertTo(D32(), multiple)), d16, codes + i);
  }
  return largest / numeric::kLargestRowCode;
}

inline Index num_pairs(Index width) {
  return numeric::int16_row_codes(width) / kPair;
}

inline void spread_token(const ops::Int16IndexSelectArgs<float>& args,
                         Index token,
                         const Lanes& lanes) {
  const Index width = lanes.width;
  const Index num_codes = num_pairs(width) * kPair * kLanes;
  for (Index first = 0; first < args.num_heads(); first += kLanes) {
    const CodedSet set(lanes.set(first / kLanes));
    const Index count = std::min(kLanes, args.num_heads() - first);
    std::fill_n(set.weights, kLanes, 0.0F);
    std::fill_n(set.codes, num_codes, std::int16_t{0});
    std::int16_t* query = set.codes + num_codes;  // in a row
    for (Index head = 0; head < count; ++head) {
      const float scale = round_row(args.query.row(token) + (first + head) * width, width, query);
      set.weights[head] = args.weight.row(token)[first + head] * scale;
      for (Index i = 0; i < width; ++i) {
        set.codes[(i / kPair * kLanes + head) * kPair + i % kPair] = query[i];
      }
    }
  }
}

// Sets [first, first + kSets) of kRowsAtOnce keys.
template <Index kSets>
HWY_INLINE void add_sets(const ops::Int16IndexSelectArgs<float>& /*args*/,
                         const Lanes& lanes,
                         const std::int16_t* const* keys,
                         Index first,
                         LaneSet (&totals)[to_size(kRowsAtOnce)]) {
  constexpr Index kPairsAtOnce = 8;
  const Index pairs = num_pairs(lanes.width);
  for (Index i = 0; i < kRegisters; ++i) {
    PairSum products[to_size(kRowsAtOnce)][to_size(kSets)];
    const auto add_pair = [&](Index pair) {
      const Index at = (pair * kLanes + i * kWidth) * kPair;
#pragma GCC unroll 8
      for (Index r = 0; r < kRowsAtOnce; ++r) {
#pragma GCC unroll 2
        for (Index s = 0; s < kSets; ++s) {
          products[r][s].add(CodedSet(lanes.set(first + s)).codes + at, keys[r] + pair * kPair);
        }
      }
    };
    // Several at a time, or g++ copies every sum from register to register behind each.
    Index pair = 0;
    for (; pair + kPairsAtOnce <= pairs; pair += kPairsAtOnce) {
#pragma GCC unroll 8
      for (Index next = 0; next < kPairsAtOnce; ++next) {
        add_pair(pair + next);
      }
    }
    for (; pair < pairs; ++pair) {
      add_pair(pair);
    }
    for (Index s = 0; s < kSets; ++s) {
      const V weights = hn::LoadU(D(), CodedSet(lanes.set(first + s)).weights + i * kWidth);
#pragma GCC unroll 8
      for (Index r = 0; r < kRowsAtOnce; ++r) {
        const V32 positive = hn::Max(products[r][s].total(), hn::Zero(D32()));
        totals[r].v[i] = hn::MulAdd(weights, hn::ConvertTo(D(), positive), totals[r].v[i]);
      }
    }
  }
}

HWY_INLINE float finished_score(const ops::Int16IndexSelectArgs<float>& /*args*/,
                                const std::int16_t* key,
                                Index width,
                                float score) {
  return score * numeric::scale_of_int16_row(key, width);
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
