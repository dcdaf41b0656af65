// Attention of every head over the same rows: a window and compressed rows, with a sink per head.
//
// Scores have heads in lanes, weighted sums have columns in lanes. Both go over the rows in blocks
// that stay in the first-level cache while every head meets them.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/sink_attention.cc"
#include <algorithm>
#include <cmath>
#include <limits>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/head_lanes-inl.h"
#include "fathom/compute/backends/cpu/isa_table.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

using SinkArgs = ops::SinkAttentionArgs<float>;

constexpr Index kRowsPerBlock = 16;
// A weighted sum keeps so many heads and registers of columns.
constexpr Index kSummedHeads = 4;
constexpr Index kSummedColumns = kRegisters == 1 ? 4 : 2;
constexpr Index kColumnsPerTile = 64;
static_assert(kColumnsPerTile % (kSummedColumns * kWidth) == 0);

// Sets of 16 heads of one token. A set's scratch: its queries, lanes of heads; a score, later a
// weight, per row and head; a denominator per head.
struct TokenHeads {
  Index token;
  Index first_set;
  float* scratch;
  Index set_stride;
  Index num_rows;

  float* queries(Index set) const { return scratch + (set - first_set) * set_stride; }
  float* scores(Index set, Index width) const { return queries(set) + width * kLanes; }
  float* denominators(Index set) const {
    return scratch + (set - first_set + 1) * set_stride - kLanes;
  }
};

TokenHeads heads_of(const SinkArgs& args, Index token, Index first_set, float* scratch) {
  const ops::VisibleRows& visible = args.visible[to_size(token)];
  const Index num_rows = visible.num_window_rows + visible.num_compressed_rows;
  const Index padded = ceil_div(num_rows, kLanes) * kLanes;
  return {token, first_set, scratch, (args.window.width + padded + 1) * kLanes, num_rows};
}

Index heads_in_set(const SinkArgs& args, Index set) {
  return std::min(kLanes, to_index(args.sink.size()) - set * kLanes);
}

void spread_set(const SinkArgs& args, const TokenHeads& heads, Index set) {
  const Index width = args.window.width;
  spread_heads(args.query.row(heads.token) + set * kLanes * width, heads_in_set(args, set), width,
               heads.queries(set));
}

// Scores of rows [first, end) for sets [set, set + kSets).
template <Index kSets>
void score_block(const SinkArgs& args, const TokenHeads& heads, Index set, Index first, Index end) {
  // As many sums as the registers hold.
  constexpr Index kRows = kRowsAtOnce * kSetsAtOnce / kSets;
  static_assert(kRowsPerBlock % kRows == 0);
  const Index width = args.window.width;
  const V scale = hn::Set(D(), static_cast<float>(args.scale));
  for (Index idx = first; idx < end; idx += kRows) {
    const float* rows[to_size(kRows)];
    find_rows<kRows>([&](Index row) { return args.visible_row(heads.token, row); }, idx, end, rows);
    LaneSet sums[to_size(kRows)][to_size(kSets)];
    multiply_rows<kSets, kRows>(rows, heads.queries(set), heads.set_stride, width, sums);
    for (Index r = 0; r < kRows; ++r) {
      for (Index s = 0; s < kSets; ++s) {
        float* to = heads.scores(set + s, width) + (idx + r) * kLanes;
        for (Index i = 0; i < kRegisters; ++i) {
          hn::StoreU(hn::Mul(sums[r][s].v[i], scale), D(), to + i * kWidth);
        }
      }
    }
  }
}

// Scores become weights exp(score - largest), rounded where they multiply rows; the denominator
// has the exact ones and the sink.
void soften_set(const SinkArgs& args, const TokenHeads& heads, Index set) {
  float* scores = heads.scores(set, args.window.width);
  LaneSet largest;
  for (Index i = 0; i < kRegisters; ++i) {
    largest.v[i] = hn::Set(D(), -std::numeric_limits<float>::infinity());
  }
  for (Index idx = 0; idx < heads.num_rows; ++idx) {
    for (Index i = 0; i < kRegisters; ++i) {
      largest.v[i] = hn::Max(largest.v[i], hn::LoadU(D(), scores + idx * kLanes + i * kWidth));
    }
  }
  LaneSet sum = zero_lanes();
  for (Index idx = 0; idx < heads.num_rows; ++idx) {
    for (Index i = 0; i < kRegisters; ++i) {
      float* at = scores + idx * kLanes + i * kWidth;
      const V weight = hn::Exp(D(), hn::Sub(hn::LoadU(D(), at), largest.v[i]));
      sum.v[i] = hn::Add(sum.v[i], weight);
      hn::StoreU(rounded(weight, args.rounding), D(), at);
    }
  }
  HWY_ALIGN float most[kLanes];
  store_lanes(largest, most);
  float* denominators = heads.denominators(set);
  store_lanes(sum, denominators);
  for (Index lane = 0; lane < heads_in_set(args, set); ++lane) {
    denominators[lane] += std::exp(args.sink[to_size(set * kLanes + lane)] - most[lane]);
  }
}

// The part of a weighted sum that one block of rows adds.
struct BlockSum {
  const float* rows[kRowsPerBlock];
  Index count;
  bool is_first;
  bool is_last;
  ops::Rounding rounding;
};

// The heads that a block's rows are summed for, from the first one on.
struct HeadSums {
  const float* weights;  // [rows, 16]
  const float* denominators;
  float* out;
  Index out_stride;
};

// out[h][c] += sum_r weights[r][h] * rows[r][c] for kHeads heads and kColumns registers from
// `column`, from zero in the first block and divided by the denominators in the last.
template <Index kHeads, Index kColumns>
HWY_INLINE void add_part(const BlockSum& block, const HeadSums& heads, Index column) {
  const auto& [weights, denominators, out, out_stride] = heads;
  V sums[to_size(kHeads)][to_size(kColumns)];
  for (Index h = 0; h < kHeads; ++h) {
    for (Index c = 0; c < kColumns; ++c) {
      const float* from = out + h * out_stride + column + c * kWidth;
      sums[h][c] = block.is_first ? hn::Zero(D()) : hn::LoadU(D(), from);
    }
  }
  for (Index r = 0; r < block.count; ++r) {
    const float* row = block.rows[r] + column;
    V numbers[to_size(kColumns)];
    for (Index c = 0; c < kColumns; ++c) {
      numbers[c] = hn::LoadU(D(), row + c * kWidth);
    }
    for (Index h = 0; h < kHeads; ++h) {
      const V weight = hn::Set(D(), weights[r * kLanes + h]);
      for (Index c = 0; c < kColumns; ++c) {
        sums[h][c] = hn::MulAdd(weight, numbers[c], sums[h][c]);
      }
    }
  }
  // Unrolled, or g++ stores every sum to memory after each row.
#pragma GCC unroll 8
  for (Index h = 0; h < kHeads; ++h) {
#pragma GCC unroll 8
    for (Index c = 0; c < kColumns; ++c) {
      if (block.is_last) {
        sums[h][c] = rounded(hn::Div(sums[h][c], hn::Set(D(), denominators[h])), block.rounding);
      }
      hn::StoreU(sums[h][c], D(), out + h * out_stride + column + c * kWidth);
    }
  }
}

// The same for columns [first, end).
template <Index kHeads>
HWY_INLINE void add_columns(const BlockSum& block, const HeadSums& heads, Index first, Index end) {
  const auto& [weights, denominators, out, out_stride] = heads;
  Index c = first;
  for (; c + kSummedColumns * kWidth <= end; c += kSummedColumns * kWidth) {
    add_part<kHeads, kSummedColumns>(block, heads, c);
  }
  for (; c + kWidth <= end; c += kWidth) {
    add_part<kHeads, 1>(block, heads, c);
  }
  for (; c < end; ++c) {
    for (Index h = 0; h < kHeads; ++h) {
      float* to = out + h * out_stride + c;
      float sum = block.is_first ? 0 : *to;
      for (Index r = 0; r < block.count; ++r) {
        sum = std::fma(weights[r * kLanes + h], block.rows[r][c], sum);
      }
      *to = block.is_last
                ? hn::GetLane(rounded(hn::Set(D(), sum / denominators[h]), block.rounding))
                : sum;
    }
  }
}

// Columns [first, end) of the results of all heads of sets [set, end_set).
void add_rows(const SinkArgs& args,
              const TokenHeads& heads,
              Index set,
              Index end_set,
              Index first,
              Index end) {
  const Index width = args.window.width;
  BlockSum block = {};
  block.rounding = args.rounding;
  for (Index idx = 0; idx < heads.num_rows; idx += kRowsPerBlock) {
    block.count = std::min(kRowsPerBlock, heads.num_rows - idx);
    block.is_first = idx == 0;
    block.is_last = idx + block.count == heads.num_rows;
    for (Index r = 0; r < block.count; ++r) {
      block.rows[r] = args.visible_row(heads.token, idx + r);
    }
    for (Index s = set; s < end_set; ++s) {
      const auto from_head = [&](Index h) {
        return HeadSums{heads.scores(s, width) + idx * kLanes + h, heads.denominators(s) + h,
                        args.out.row(heads.token) + (s * kLanes + h) * width, width};
      };
      const Index num_heads = heads_in_set(args, s);
      Index h = 0;
      for (; h + kSummedHeads <= num_heads; h += kSummedHeads) {
        add_columns<kSummedHeads>(block, from_head(h), first, end);
      }
      for (; h < num_heads; ++h) {
        add_columns<1>(block, from_head(h), first, end);
      }
    }
  }
}

// Rows [first, end) for sets [set, end_set).
void score_rows(const SinkArgs& args,
                const TokenHeads& heads,
                Index set,
                Index end_set,
                Index first,
                Index end) {
  for (Index idx = first; idx < end; idx += kRowsPerBlock) {
    const Index block_end = std::min(idx + kRowsPerBlock, end);
    Index s = set;
    for (; s + kSetsAtOnce <= end_set; s += kSetsAtOnce) {
      score_block<kSetsAtOnce>(args, heads, s, idx, block_end);
    }
    for (; s < end_set; ++s) {
      score_block<1>(args, heads, s, idx, block_end);
    }
  }
}

// All threads work at one token: on heads, on rows, on heads and on columns in turn.
void attend_together(const SinkArgs& args, Index token, platform::ThreadPool& pool) {
  const Index num_sets = ceil_div(to_index(args.sink.size()), kLanes);
  const Index width = args.window.width;
  const TokenHeads heads = heads_of(args, token, 0, args.scratch.data);
  pool.parallel_for(num_sets, [&](Index set, int /*thread*/) { spread_set(args, heads, set); });
  pool.parallel_for(ceil_div(heads.num_rows, kRowsPerBlock), [&](Index block, int /*thread*/) {
    const Index first = block * kRowsPerBlock;
    score_rows(args, heads, 0, num_sets, first, std::min(first + kRowsPerBlock, heads.num_rows));
  });
  pool.parallel_for(num_sets, [&](Index set, int /*thread*/) { soften_set(args, heads, set); });
  pool.parallel_for(ceil_div(width, kColumnsPerTile), [&](Index tile, int /*thread*/) {
    const Index first = tile * kColumnsPerTile;
    add_rows(args, heads, 0, num_sets, first, std::min(first + kColumnsPerTile, width));
  });
}

}  // namespace

void sink_attention(const SinkArgs& args, platform::ThreadPool& pool) {
  constexpr Index kManyTiles = 4;  // per thread
  constexpr Index kSetsPerTile = SinkArgs::kHeadsPerTile / kLanes;
  const Index num_tokens = args.query.rows;
  const Index num_threads = pool.num_threads();
  const Index num_sets = ceil_div(to_index(args.sink.size()), kLanes);
  const bool is_many = num_tokens * ceil_div(num_sets, kSetsPerTile) >= kManyTiles * num_threads;
  const Index tile_sets = is_many ? kSetsPerTile : 1;
  const Index num_set_tiles = ceil_div(num_sets, tile_sets);
  const Index num_tiles = num_tokens * num_set_tiles;
  // Whoever computes it, a sum is taken in the same order.
  if (num_tiles < kManyTiles * num_threads && num_tiles % num_threads != 0) {
    for (Index token = 0; token < num_tokens; ++token) {
      attend_together(args, token, pool);
    }
    return;
  }
  pool.parallel_for(num_tiles, [&](Index tile, int thread_idx) {
    const Index first = tile % num_set_tiles * tile_sets;
    const Index end = std::min(first + tile_sets, num_sets);
    const TokenHeads heads =
        heads_of(args, tile / num_set_tiles, first, args.scratch.row(thread_idx));
    for (Index set = first; set < end; ++set) {
      spread_set(args, heads, set);
    }
    score_rows(args, heads, first, end, 0, heads.num_rows);
    for (Index set = first; set < end; ++set) {
      soften_set(args, heads, set);
    }
    add_rows(args, heads, first, end, 0, args.window.width);
  });
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(sink_attention);

void fill_sink_attention(ops::KernelTable<float>& table, const Isa& isa) {
  table.sink_attention = {select(HWY_DISPATCH_TABLE(sink_attention), isa), isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
