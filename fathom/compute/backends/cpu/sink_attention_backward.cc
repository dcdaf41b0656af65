// The way back through attention of every head over the same rows, with a sink per head.
//
// Some tokens at a time: first every token's weights and the gradients of its scores, with which
// the gradient of its query is made; then, row by row, what all of these tokens add to the gradient
// of a row. A tile of the second loop owns rows and columns, so no two write the same number, and
// each is summed token by token.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/sink_attention_backward.cc"
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/attention_backward-inl.h"
#include "fathom/compute/backends/cpu/isa_table.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

using BackwardArgs = ops::SinkAttentionBackwardArgs<float>;

constexpr Index kRowsPerTile = 64;
constexpr Index kColumnsPerTile = 64;

Index num_heads_of(const BackwardArgs& args) {
  return to_index(args.forward.sink.size());
}

Index rows_of(const ops::VisibleRows& visible) {
  return visible.num_window_rows + visible.num_compressed_rows;
}

// What the first loop leaves of a token: for every head gradients of scores, then weights, and at
// the end what each head takes from the sink's gradient.
struct TokenWeights {
  float* d_scores;  // [H, stride]
  float* weights;   // [H, stride], right behind
  float* d_sinks;   // [H]
  Index stride;
};

TokenWeights weights_of(const BackwardArgs& args, Index idx) {
  const Index num_heads = num_heads_of(args);
  const Index stride = ceil_div(args.most_rows, kLanes) * kLanes;
  float* numbers =
      args.scratch.row(0) + idx * BackwardArgs::token_numbers(num_heads, args.most_rows);
  return {numbers, numbers + num_heads * stride, numbers + 2 * num_heads * stride, stride};
}

// Products of every head of a token with the rows that it sees.
void multiply_heads(const BackwardArgs& args, Index token, const TokenWeights& to) {
  const auto& forward = args.forward;
  const Index width = forward.window.width;
  const Index num_rows = rows_of(forward.visible[to_size(token)]);
  for (Index first = 0; first < num_rows; first += kPairRows) {
    const float* rows[to_size(kPairRows)];
    for (Index r = 0; r < kPairRows; ++r) {
      rows[r] = forward.visible_row(token, std::min(first + r, num_rows - 1));
    }
    for (Index head = 0; head < num_heads_of(args); ++head) {
      const HeadPair pair = {forward.query.row(token) + head * width,
                             args.d_out.row(token) + head * width};
      multiply_pair<true>(pair, rows, rows, width, to.weights + head * to.stride + first,
                          to.d_scores + head * to.stride + first);
    }
  }
}

void add_to_query(const BackwardArgs& args, Index token, const TokenWeights& from) {
  constexpr Index kHeadsAtOnce = 16;
  const auto& forward = args.forward;
  const Index width = forward.window.width;
  const Index num_rows = rows_of(forward.visible[to_size(token)]);
  for (Index first = 0; first < num_rows; first += kRowBlock) {
    const float* rows[to_size(kRowBlock)];
    const Index count = std::min(kRowBlock, num_rows - first);
    for (Index r = 0; r < count; ++r) {
      rows[r] = forward.visible_row(token, first + r);
    }
    for (Index head = 0; head < num_heads_of(args); head += kHeadsAtOnce) {
      float* results[to_size(kHeadsAtOnce)];
      const Index num_heads = std::min(kHeadsAtOnce, num_heads_of(args) - head);
      for (Index h = 0; h < num_heads; ++h) {
        results[h] = args.d_query.row(token) + (head + h) * width;
      }
      add_weighted_rows({.rows = rows,
                         .count = count,
                         .weights = from.d_scores + head * from.stride + first,
                         .result_stride = from.stride,
                         .row_stride = 1},
                        results, num_heads, 0, width);
    }
  }
}

void weigh_token(const BackwardArgs& args, Index token, const TokenWeights& to) {
  const auto& forward = args.forward;
  const Index num_rows = rows_of(forward.visible[to_size(token)]);
  multiply_heads(args, token, to);
  for (Index head = 0; head < num_heads_of(args); ++head) {
    const SoftmaxGradient gradient =
        soften_backward(num_rows, static_cast<float>(forward.scale), forward.sink[to_size(head)],
                        to.weights + head * to.stride, to.d_scores + head * to.stride);
    to.d_sinks[head] = gradient.sink * gradient.mean;
  }
  add_to_query(args, token, to);
}

// Tokens that go through both loops, and the rows that any of them sees.
struct Chunk {
  Index first;
  Index end;
  Index first_row[2];  // of the window and of compressed rows
  Index end_row[2];
};

// Rows of a kind that a token sees in [first, end): calls visit(idx among the visible rows, row).
template <typename Visit>
void for_each_row(const BackwardArgs& args,
                  Index token,
                  bool is_compressed,
                  Index first,
                  Index end,
                  const Visit& visit) {
  const auto& forward = args.forward;
  const ops::VisibleRows& seen = forward.visible[to_size(token)];
  if (is_compressed && forward.selected.data != nullptr) {
    const std::int32_t* ids = forward.selected.row(token);
    const std::int32_t* last = ids + seen.num_compressed_rows;
    for (const auto* id = std::lower_bound(ids, last, first - seen.first_compressed_row);
         id != last && seen.first_compressed_row + *id < end; ++id) {
      visit(seen.num_window_rows + (id - ids), seen.first_compressed_row + *id);
    }
    return;
  }
  const Index before = is_compressed ? seen.num_window_rows : 0;
  const Index first_row = is_compressed ? seen.first_compressed_row : seen.first_window_row;
  const Index num_rows = is_compressed ? seen.num_compressed_rows : seen.num_window_rows;
  const Index end_row = std::min(end, first_row + num_rows);
  for (Index row = std::max(first, first_row); row < end_row; ++row) {
    visit(before + row - first_row, row);
  }
}

Chunk chunk_of(const BackwardArgs& args, Index first, Index end) {
  Chunk chunk = {first, end, {0, 0}, {0, 0}};
  for (const bool is_compressed : {false, true}) {
    const Index num_rows =
        is_compressed ? args.forward.compressed.num_rows : args.forward.window.num_rows;
    Index least = num_rows;
    Index most = 0;
    for (Index token = first; token < end; ++token) {
      const ops::VisibleRows& seen = args.forward.visible[to_size(token)];
      const Index count = is_compressed ? seen.num_compressed_rows : seen.num_window_rows;
      if (count == 0) {
        continue;
      }
      Index first_row = is_compressed ? seen.first_compressed_row : seen.first_window_row;
      Index last_row = first_row + count - 1;
      if (is_compressed && args.forward.selected.data != nullptr) {
        const std::int32_t* ids = args.forward.selected.row(token);
        last_row = first_row + ids[count - 1];
        first_row += ids[0];
      }
      least = std::min(least, first_row);
      most = std::max(most, last_row + 1);
    }
    chunk.first_row[is_compressed ? 1 : 0] = std::min(least, most);
    chunk.end_row[is_compressed ? 1 : 0] = most;
  }
  return chunk;
}

// What the tokens of the chunk add to rows [first, end) of a kind, columns [column, end_column).
void add_to_rows(
    const BackwardArgs& args, const Chunk& chunk, bool is_compressed, Index first, Index column) {
  const Index num_heads = num_heads_of(args);
  const Index width = args.forward.window.width;
  const Index end = std::min(first + kRowsPerTile, chunk.end_row[is_compressed ? 1 : 0]);
  const Index end_column = std::min(column + kColumnsPerTile, width);
  const auto& d_table = is_compressed ? args.d_compressed : args.d_window;
  for (Index token = chunk.first; token < chunk.end; ++token) {
    float* results[to_size(kRowsPerTile)];
    Index count = 0;
    Index first_idx = 0;
    for_each_row(args, token, is_compressed, first, end, [&](Index idx, Index row) {
      first_idx = count == 0 ? idx : first_idx;
      results[count++] = d_table.row(row);
    });
    if (count == 0) {
      continue;
    }
    const TokenWeights from = weights_of(args, token - chunk.first);
    // Gradients of scores times queries, and behind them weights times gradients of results.
    for (Index head = 0; head < 2 * num_heads; head += kRowBlock) {
      const float* rows[to_size(kRowBlock)];
      const Index block = std::min(kRowBlock, 2 * num_heads - head);
      for (Index h = 0; h < block; ++h) {
        const Index idx = head + h;
        rows[h] = idx < num_heads ? args.forward.query.row(token) + idx * width
                                  : args.d_out.row(token) + (idx - num_heads) * width;
      }
      add_weighted_rows({.rows = rows,
                         .count = block,
                         .weights = from.d_scores + head * from.stride + first_idx,
                         .result_stride = 1,
                         .row_stride = from.stride},
                        results, count, column, end_column);
    }
  }
}

}  // namespace

void sink_attention_backward(const BackwardArgs& args, platform::ThreadPool& pool) {
  const Index num_heads = num_heads_of(args);
  const Index num_tokens = args.d_out.rows;
  const Index chunk_tokens = BackwardArgs::chunk_tokens(num_heads, args.most_rows, num_tokens);
  const Index num_column_tiles = ceil_div(args.forward.window.width, kColumnsPerTile);
  for (Index first = 0; first < num_tokens; first += chunk_tokens) {
    const Chunk chunk = chunk_of(args, first, std::min(first + chunk_tokens, num_tokens));
    pool.parallel_for(chunk.end - chunk.first, [&](Index idx, int /*thread*/) {
      weigh_token(args, chunk.first + idx, weights_of(args, idx));
    });
    const auto num_row_tiles = [&](Index kind) {
      return ceil_div(chunk.end_row[kind] - chunk.first_row[kind], kRowsPerTile);
    };
    const Index num_window_tiles = num_row_tiles(0);
    pool.parallel_for((num_window_tiles + num_row_tiles(1)) * num_column_tiles,
                      [&](Index tile, int /*thread*/) {
                        const Index row_tile = tile / num_column_tiles;
                        const bool is_compressed = row_tile >= num_window_tiles;
                        const Index idx = is_compressed ? row_tile - num_window_tiles : row_tile;
                        add_to_rows(args, chunk, is_compressed,
                                    chunk.first_row[is_compressed ? 1 : 0] + idx * kRowsPerTile,
                                    tile % num_column_tiles * kColumnsPerTile);
                      });
    for (Index idx = 0; args.d_sink != nullptr && idx < chunk.end - chunk.first; ++idx) {
      const TokenWeights weights = weights_of(args, idx);
      for (Index head = 0; head < num_heads; ++head) {
        args.d_sink[head] -= weights.d_sinks[head];
      }
    }
  }
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(sink_attention_backward);

void fill_sink_attention_backward(ops::TrainingKernels<float>& table, const Isa& isa) {
  table.sink_attention_backward = {select(HWY_DISPATCH_TABLE(sink_attention_backward), isa),
                                   isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
