// The lightning indexer: scores of compressed blocks, and the best of them.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/index_select.cc"
#include <algorithm>
#include <cstring>
#include <limits>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/head_lanes-inl.h"
#include "fathom/compute/backends/cpu/isa_table.h"
#include "fathom/compute/ops/top_k.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

using SelectArgs = ops::IndexSelectArgs<float>;

// One token's part of the scratch: each set of heads with its weights behind, then the scores.
struct Lanes {
  float* queries;
  float* scores;
  Index set_stride;
};

Lanes lanes_of(const SelectArgs& args, float* scratch, Index slot, Index most) {
  const Index set_stride = (args.keys.width + 1) * kLanes;
  const Index num_sets = ceil_div(args.weight.columns, kLanes);
  const Index num_scores = ceil_div(most, kLanes) * kLanes;
  float* queries = scratch + slot * (num_sets * set_stride + num_scores);
  return {queries, queries + num_sets * set_stride, set_stride};
}

void spread_token(const SelectArgs& args, Index token, const Lanes& lanes) {
  const Index width = args.keys.width;
  const Index num_heads = args.weight.columns;
  for (Index head = 0; head < num_heads; head += kLanes) {
    float* set = lanes.queries + head / kLanes * lanes.set_stride;
    const Index count = std::min(kLanes, num_heads - head);
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
HWY_INLINE void add_sets(const SelectArgs& args,
                         const Lanes& lanes,
                         const float* const* keys,
                         Index first,
                         LaneSet (&totals)[to_size(kRowsAtOnce)]) {
  const Index width = args.keys.width;
  const float* queries = lanes.queries + first * lanes.set_stride;
  LaneSet products[to_size(kRowsAtOnce)][to_size(kSets)];
  multiply_rows<kSets, kRowsAtOnce>(keys, queries, lanes.set_stride, width, products);
  for (Index r = 0; r < kRowsAtOnce; ++r) {
    for (Index s = 0; s < kSets; ++s) {
      add_heads(products[r][s], queries + s * lanes.set_stride + width * kLanes,
                args.weight.columns - (first + s) * kLanes, args.rounding, totals[r]);
    }
  }
}

void score_blocks(const SelectArgs& args, Index token, const Lanes& lanes, Index first, Index end) {
  const Index num_sets = ceil_div(args.weight.columns, kLanes);
  for (Index block = first; block < end; block += kRowsAtOnce) {
    const float* keys[to_size(kRowsAtOnce)];
    find_rows<kRowsAtOnce>([&](Index idx) { return args.key(token, idx); }, block, end, keys);
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
      const float score = sum_lanes(totals[r]);
      lanes.scores[block + r] = args.rounding == ops::Rounding::Bf16
                                    ? hn::GetLane(round_bf16(hn::Set(D(), score)))
                                    : score;
    }
  }
}

const hn::RebindToSigned<D> kInts;
using Ints = hn::Vec<hn::RebindToSigned<D>>;

// Number of keys above `threshold`.
Index count_above(const float* keys, Index padded, std::int32_t threshold) {
  const Ints bound = hn::Set(kInts, threshold);
  Ints sum = hn::Zero(kInts);
  for (Index i = 0; i < padded; i += kWidth) {
    const Ints key = hn::BitCast(kInts, hn::LoadU(D(), keys + i));
    sum = hn::Sub(sum, hn::VecFromMask(kInts, hn::Gt(key, bound)));
  }
  return hn::GetLane(hn::SumOfLanes(kInts, sum));
}

// As ops::select_top_k for count > k, in passes over all scores: the k-th best is found bit by bit.
// Scores become whole numbers of the same order, a NaN the smallest.
void choose_best(float* scores, Index count, Index k, std::int32_t* out) {
  constexpr std::int32_t kSmallest = std::numeric_limits<std::int32_t>::min();
  const Index padded = ceil_div(count, kLanes) * kLanes;
  std::fill(scores + count, scores + padded, std::numeric_limits<float>::quiet_NaN());
  for (Index i = 0; i < padded; i += kWidth) {
    // Adding zero makes -0 the +0 it ties with.
    const V score = hn::Add(hn::LoadU(D(), scores + i), hn::Zero(D()));
    const Ints bits = hn::BitCast(kInts, score);
    const Ints turned =
        hn::Xor(bits, hn::And(hn::ShiftRight<31>(bits), hn::Set(kInts, 0x7fffffff)));
    const Ints key =
        hn::IfThenElse(hn::RebindMask(kInts, hn::IsNaN(score)), hn::Set(kInts, kSmallest), turned);
    hn::StoreU(hn::BitCast(D(), key), D(), scores + i);
  }
  std::uint32_t found = 0;  // of the k-th best key, counted from the smallest
  for (std::uint32_t bit = 1U << 31; bit != 0; bit >>= 1) {
    const auto threshold = static_cast<std::int32_t>((found | bit) ^ 0x80000000U);
    found |= count_above(scores, padded, threshold - 1) >= k ? bit : 0U;
  }
  const auto kth = static_cast<std::int32_t>(found ^ 0x80000000U);
  const Index num_above = count_above(scores, padded, kth);
  Index num_ties = k - num_above;  // the lower blocks win
  Index num_chosen = 0;
  for (Index i = 0; i < count; ++i) {
    std::int32_t key = 0;
    std::memcpy(&key, scores + i, sizeof(key));
    const bool is_tie = key == kth && num_ties > 0;
    num_ties -= is_tie ? 1 : 0;
    if (key > kth || is_tie) {
      out[num_chosen++] = static_cast<std::int32_t>(i);
    }
  }
}

void choose(const SelectArgs& args, Index token, float* scores) {
  const Index num_visible = args.num_visible[to_size(token)];
  const Index top_k = args.out.columns;
  if (num_visible <= top_k) {
    ops::select_top_k<float>(nullptr, num_visible, top_k, args.out.row(token));
  } else {
    choose_best(scores, num_visible, top_k, args.out.row(token));
  }
}

// What the tokens of one tile share: keys are read in pieces that stay in the first-level cache.
struct TokenTile {
  Index first;
  Index count;
  Index most;  // the largest number of visible blocks
};

TokenTile tile_of(const SelectArgs& args, Index tile) {
  const Index first = tile * SelectArgs::kTokensPerTile;
  const Index count = std::min(SelectArgs::kTokensPerTile, args.out.rows - first);
  const auto begin = args.num_visible.begin() + first;
  return {first, count, *std::max_element(begin, begin + count)};
}

void score_tile(const SelectArgs& args, const TokenTile& tile, float* scratch, Index piece) {
  constexpr Index kBlocks = SelectArgs::kBlocksPerPiece;
  for (Index slot = 0; slot < tile.count; ++slot) {
    const Index num_visible = args.num_visible[to_size(tile.first + slot)];
    if (num_visible > args.out.columns) {
      score_blocks(args, tile.first + slot, lanes_of(args, scratch, slot, tile.most),
                   piece * kBlocks, std::min((piece + 1) * kBlocks, num_visible));
    }
  }
}

void spread_tile(const SelectArgs& args, const TokenTile& tile, float* scratch) {
  for (Index slot = 0; slot < tile.count; ++slot) {
    if (args.num_visible[to_size(tile.first + slot)] > args.out.columns) {
      spread_token(args, tile.first + slot, lanes_of(args, scratch, slot, tile.most));
    }
  }
}

}  // namespace

void index_select(const SelectArgs& args, platform::ThreadPool& pool) {
  constexpr Index kFewTiles = 4;
  const Index num_tiles = ceil_div(args.out.rows, SelectArgs::kTokensPerTile);
  const auto num_pieces = [](const TokenTile& tile) {
    return ceil_div(tile.most, SelectArgs::kBlocksPerPiece);
  };
  // Many tokens: a tile each. A few with a long context: all threads score the same tile. Either
  // way a score is computed alone, so the choice does not show in results.
  if (num_tiles >= kFewTiles) {
    pool.parallel_for(num_tiles, [&](Index idx, int thread_idx) {
      const TokenTile tile = tile_of(args, idx);
      float* scratch = args.scratch.row(thread_idx);
      spread_tile(args, tile, scratch);
      for (Index piece = 0; piece < num_pieces(tile); ++piece) {
        score_tile(args, tile, scratch, piece);
      }
      for (Index slot = 0; slot < tile.count; ++slot) {
        choose(args, tile.first + slot, lanes_of(args, scratch, slot, tile.most).scores);
      }
    });
    return;
  }
  float* scratch = args.scratch.row(0);
  for (Index idx = 0; idx < num_tiles; ++idx) {
    const TokenTile tile = tile_of(args, idx);
    spread_tile(args, tile, scratch);
    if (tile.most > args.out.columns) {
      pool.parallel_for(num_pieces(tile), [&](Index piece, int /*thread*/) {
        score_tile(args, tile, scratch, piece);
      });
    }
    pool.parallel_for(tile.count, [&](Index slot, int /*thread*/) {
      choose(args, tile.first + slot, lanes_of(args, scratch, slot, tile.most).scores);
    });
  }
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(index_select);

void fill_index_select(ops::KernelTable<float>& table, const Isa& isa) {
  table.index_select = {select(HWY_DISPATCH_TABLE(index_select), isa), isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
