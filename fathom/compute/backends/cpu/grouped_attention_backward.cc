// The way back through causal attention over keys and values that groups of heads share.
//
// As sink_attention_backward.cc: some tokens at a time, first their weights and the gradients of
// their queries, then what they add to the gradients of keys and values, in tiles that own rows of
// one key-value head.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/grouped_attention_backward.cc"
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

using BackwardArgs = ops::GroupedAttentionBackwardArgs<float>;

constexpr Index kRowsPerTile = 64;
constexpr Index kMostHeads = 64;  // of a group, at a time

Index num_heads_of(const BackwardArgs& args) {
  return args.forward.query.columns / args.forward.head_dim;
}

// What the first loop leaves of a token: for every head gradients of scores, then weights.
struct TokenWeights {
  float* d_scores;  // [H, stride]
  float* weights;   // [H, stride]
  Index stride;
};

TokenWeights weights_of(const BackwardArgs& args, Index idx) {
  const Index num_heads = num_heads_of(args);
  const Index stride = ceil_div(args.most_rows, kLanes) * kLanes;
  float* numbers =
      args.scratch.row(0) + idx * BackwardArgs::token_numbers(num_heads, args.most_rows);
  return {numbers, numbers + num_heads * stride, stride};
}

// Heads of one group, which share keys and values.
struct Group {
  Index column;      // of the group's keys and values
  Index first_head;  // of the query
  Index num_heads;
};

Group group_of(const BackwardArgs& args, Index idx) {
  const Index num_heads = args.forward.heads_per_group();
  return {idx * args.forward.head_dim, idx * num_heads, num_heads};
}

// Products of a group's heads of a token with the keys and values that it sees.
void multiply_group(const BackwardArgs& args,
                    Index token,
                    const Group& group,
                    const TokenWeights& to) {
  const auto& forward = args.forward;
  const auto key_rows = forward.keys.table<float>();
  const auto value_rows = forward.values.table<float>();
  const Index width = forward.head_dim;
  const Index num_rows = forward.num_visible[to_size(token)];
  for (Index first = 0; first < num_rows; first += kPairRows) {
    const float* keys[to_size(kPairRows)];
    const float* values[to_size(kPairRows)];
    for (Index r = 0; r < kPairRows; ++r) {
      const Index row = std::min(first + r, num_rows - 1);
      keys[r] = key_rows.row(row) + group.column;
      values[r] = value_rows.row(row) + group.column;
    }
    for (Index head = group.first_head; head < group.first_head + group.num_heads; ++head) {
      const HeadPair pair = {forward.query.row(token) + head * width,
                             args.d_out.row(token) + head * width};
      multiply_pair<false>(pair, keys, values, width, to.weights + head * to.stride + first,
                           to.d_scores + head * to.stride + first);
    }
  }
}

void add_to_query(const BackwardArgs& args,
                  Index token,
                  const Group& group,
                  const TokenWeights& from) {
  const auto& forward = args.forward;
  const auto key_rows = forward.keys.table<float>();
  const Index width = forward.head_dim;
  const Index num_rows = forward.num_visible[to_size(token)];
  for (Index first = 0; first < num_rows; first += kRowBlock) {
    const float* rows[to_size(kRowBlock)];
    const Index count = std::min(kRowBlock, num_rows - first);
    for (Index r = 0; r < count; ++r) {
      rows[r] = key_rows.row(first + r) + group.column;
    }
    for (Index done = 0; done < group.num_heads; done += kMostHeads) {
      float* results[to_size(kMostHeads)];
      const Index head = group.first_head + done;
      const Index num_heads = std::min(kMostHeads, group.num_heads - done);
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
  const Index num_rows = forward.num_visible[to_size(token)];
  const float no_sink = -std::numeric_limits<float>::infinity();
  for (Index idx = 0; idx < forward.num_key_value_heads(); ++idx) {
    const Group group = group_of(args, idx);
    multiply_group(args, token, group, to);
    for (Index head = group.first_head; head < group.first_head + group.num_heads; ++head) {
      soften_backward(num_rows, static_cast<float>(forward.scale), no_sink,
                      to.weights + head * to.stride, to.d_scores + head * to.stride);
    }
    add_to_query(args, token, group, to);
  }
}

// results[r] += the sum over the group's heads of weights[head * stride + r] times the head's
// numbers in `numbers`, of one token.
void add_group(const Group& group,
               const float* numbers,
               Index width,
               const float* weights,
               Index stride,
               std::span<float* const> results) {
  for (Index done = 0; done < group.num_heads; done += kMostHeads) {
    const float* rows[to_size(kMostHeads)];
    const Index head = group.first_head + done;
    const Index num_heads = std::min(kMostHeads, group.num_heads - done);
    for (Index h = 0; h < num_heads; ++h) {
      rows[h] = numbers + (head + h) * width;
    }
    add_weighted_rows({.rows = rows,
                       .count = num_heads,
                       .weights = weights + head * stride,
                       .result_stride = 1,
                       .row_stride = stride},
                      results.data(), to_index(results.size()), 0, width);
  }
}

// What tokens [first_token, end_token) add to the gradients of a group's keys and values from row
// `first` on.
void add_to_rows(
    const BackwardArgs& args, Index first_token, Index end_token, const Group& group, Index first) {
  const auto& forward = args.forward;
  const Index width = forward.head_dim;
  float* d_keys[to_size(kRowsPerTile)];
  float* d_values[to_size(kRowsPerTile)];
  const Index num_rows = std::min(kRowsPerTile, args.most_rows - first);
  for (Index r = 0; r < num_rows; ++r) {
    d_keys[r] = args.d_keys.row(first + r) + group.column;
    d_values[r] = args.d_values.row(first + r) + group.column;
  }
  for (Index token = first_token; token < end_token; ++token) {
    const Index count = std::min(num_rows, forward.num_visible[to_size(token)] - first);
    if (count > 0) {
      const TokenWeights from = weights_of(args, token - first_token);
      add_group(group, forward.query.row(token), width, from.d_scores + first, from.stride,
                std::span(d_keys).first(to_size(count)));
      add_group(group, args.d_out.row(token), width, from.weights + first, from.stride,
                std::span(d_values).first(to_size(count)));
    }
  }
}

}  // namespace

void grouped_attention_backward(const BackwardArgs& args, platform::ThreadPool& pool) {
  const Index num_tokens = args.d_out.rows;
  const Index num_groups = args.forward.num_key_value_heads();
  const Index num_row_tiles = ceil_div(args.most_rows, kRowsPerTile);
  const Index chunk = BackwardArgs::chunk_tokens(num_heads_of(args), args.most_rows, num_tokens);
  for (Index first = 0; first < num_tokens; first += chunk) {
    const Index end = std::min(first + chunk, num_tokens);
    pool.parallel_for(end - first, [&](Index idx, int /*thread*/) {
      weigh_token(args, first + idx, weights_of(args, idx));
    });
    pool.parallel_for(num_row_tiles * num_groups, [&](Index tile, int /*thread*/) {
      add_to_rows(args, first, end, group_of(args, tile % num_groups),
                  tile / num_groups * kRowsPerTile);
    });
  }
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(grouped_attention_backward);

void fill_grouped_attention_backward(ops::TrainingKernels<float>& table, const Isa& isa) {
  table.grouped_attention_backward = {select(HWY_DISPATCH_TABLE(grouped_attention_backward), isa),
                                      isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
