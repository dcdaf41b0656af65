// The lightning indexer: scores of compressed blocks, and the best of them.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/index_select.cc"
#include <algorithm>
#include <cstring>
#include <limits>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/index_scores-inl.h"
#include "fathom/compute/backends/cpu/isa_table.h"
#include "fathom/compute/ops/top_k.h"

FATHOM_BEFORE_DOT_NAMESPACE();
namespace fathom::cpu::FATHOM_NAMESPACE {
namespace {

template <typename Key>
using SelectArgs = ops::IndexSelectArgs<float, Key>;

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

template <typename Key>
void choose(const SelectArgs<Key>& args, Index token, float* scores) {
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

template <typename Key>
TokenTile tile_of(const SelectArgs<Key>& args, Index tile) {
  const Index first = tile * SelectArgs<Key>::kTokensPerTile;
  const Index count = std::min(SelectArgs<Key>::kTokensPerTile, args.out.rows - first);
  const auto begin = args.num_visible.begin() + first;
  return {first, count, *std::max_element(begin, begin + count)};
}

template <typename Key>
void score_tile(const SelectArgs<Key>& args, const TokenTile& tile, float* scratch, Index piece) {
  constexpr Index kBlocks = SelectArgs<Key>::kBlocksPerPiece;
  for (Index slot = 0; slot < tile.count; ++slot) {
    const Index num_visible = args.num_visible[to_size(tile.first + slot)];
    if (num_visible > args.out.columns) {
      score_blocks(args, tile.first + slot, lanes_of(args, scratch, slot, tile.most),
                   {piece * kBlocks, std::min((piece + 1) * kBlocks, num_visible), slot == 0});
    }
  }
}

template <typename Key>
void spread_tile(const SelectArgs<Key>& args, const TokenTile& tile, float* scratch) {
  for (Index slot = 0; slot < tile.count; ++slot) {
    if (args.num_visible[to_size(tile.first + slot)] > args.out.columns) {
      spread_token(args, tile.first + slot, lanes_of(args, scratch, slot, tile.most));
    }
  }
}

template <typename Key>
void select_blocks(const SelectArgs<Key>& args, platform::ThreadPool& pool) {
  constexpr Index kFewTiles = 4;
  const Index num_tiles = ceil_div(args.out.rows, SelectArgs<Key>::kTokensPerTile);
  const auto num_pieces = [](const TokenTile& tile) {
    return ceil_div(tile.most, SelectArgs<Key>::kBlocksPerPiece);
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

}  // namespace

void index_select(const ops::IndexSelectArgs<float>& args, platform::ThreadPool& pool) {
  select_blocks(args, pool);
}

void int16_index_select(const ops::Int16IndexSelectArgs<float>& args, platform::ThreadPool& pool) {
  select_blocks(args, pool);
}

}  // namespace fathom::cpu::FATHOM_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(index_select);
HWY_EXPORT(int16_index_select);

void fill_index_select(ops::KernelTable<float>& table, const Isa& isa) {
  table.index_select = {select(HWY_DISPATCH_TABLE(index_select), isa), isa.name};
  table.int16_index_select = {select(HWY_DISPATCH_TABLE(int16_index_select), isa), isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
