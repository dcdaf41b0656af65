// Attention, index scores and compression: kernels that read rows of the cache.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/sink_attention.cc"
#include <algorithm>
#include <cmath>
#include <limits>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/isa_table.h"
#include "fathom/compute/backends/cpu/simd-inl.h"
#include "fathom/compute/numeric/small_floats.h"
#include "fathom/compute/ops/top_k.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Rows that share one reading of the queries: as many sums as registers hold.
constexpr Index kScoredRows = kRegisters == 1 ? 4 : 1;

// scores[q][first + r] = scale * (query q . row_of(first + r)) for kCount queries and kRows rows.
template <Index kCount, Index kRows, typename RowOf>
HWY_INLINE void score_some_rows(const RowOf& row_of,
                                const float* const* queries,
                                Index width,
                                float scale,
                                Index first,
                                float* const* scores) {
  const float* rows[to_size(kRows)];
  LaneSet sums[to_size(kRows)][to_size(kCount)];
  for (Index r = 0; r < kRows; ++r) {
    rows[r] = row_of(first + r);
    for (Index q = 0; q < kCount; ++q) {
      sums[r][q] = zero_lanes();
    }
  }
  const auto add = [&](const auto& load) HWY_ATTR {
    LaneSet parts[to_size(kRows)];
    for (Index r = 0; r < kRows; ++r) {
      parts[r] = load(rows[r]);
    }
    for (Index q = 0; q < kCount; ++q) {
      const LaneSet query = load(queries[q]);
      for (Index r = 0; r < kRows; ++r) {
        multiply_add(query, parts[r], sums[r][q]);
      }
    }
  };
  Index k = 0;
  for (; k + kLanes <= width; k += kLanes) {
    add([k](const float* from) HWY_ATTR { return load_lanes(from + k); });
  }
  if (k < width) {
    add([k, width](const float* from) HWY_ATTR { return load_tail(from + k, width - k); });
  }
  for (Index r = 0; r < kRows; ++r) {
    for (Index q = 0; q < kCount; ++q) {
      scores[q][first + r] = sum_lanes(sums[r][q]) * scale;
    }
  }
}

// As above for rows [0, num_rows).
template <Index kCount, typename RowOf>
HWY_INLINE void score_rows(const RowOf& row_of,
                           const float* const* queries,
                           Index width,
                           float scale,
                           Index num_rows,
                           float* const* scores) {
  Index idx = 0;
  for (; idx + kScoredRows <= num_rows; idx += kScoredRows) {
    score_some_rows<kCount, kScoredRows>(row_of, queries, width, scale, idx, scores);
  }
  for (; idx < num_rows; ++idx) {
    score_some_rows<kCount, 1>(row_of, queries, width, scale, idx, scores);
  }
}

// Scores become weights exp(score - largest), rounded where they multiply rows; returns the
// denominator, sink included. Weights behind the last are 0.
HWY_INLINE float soften(float* scores, Index num_rows, float sink, ops::Rounding rounding) {
  const Index padded = ceil_div(num_rows, kLanes) * kLanes;
  std::fill(scores + num_rows, scores + padded, kMinusInfinity);
  V most = hn::Set(D(), kMinusInfinity);
  for (Index i = 0; i < padded; i += kWidth) {
    most = hn::Max(most, hn::LoadU(D(), scores + i));
  }
  const float largest = hn::GetLane(hn::MaxOfLanes(D(), most));
  const V shift = hn::Set(D(), largest);
  LaneSet sum = zero_lanes();
  for (Index i = 0; i < padded; i += kLanes) {
    for (Index part = 0; part < kRegisters; ++part) {
      float* at = scores + i + part * kWidth;
      const V weight = hn::Exp(D(), hn::Sub(hn::LoadU(D(), at), shift));
      sum.v[part] = hn::Add(sum.v[part], weight);
      hn::StoreU(rounded(weight, rounding), D(), at);
    }
  }
  return sum_lanes(sum) + std::exp(sink - largest);
}

// What one query has to do with the rows it sees.
struct RowSum {
  const float* weights;
  Index num_rows;
  float denominator;
  float* out;
};

// out[c] = sum_idx weights[idx] * row_of(idx)[c] / denominator for each query over its own number
// of rows, in ascending order. Rows that all queries have are read once.
template <Index kCount, typename RowOf>
HWY_INLINE void add_rows(const RowOf& row_of,
                         const RowSum* queries,
                         Index width,
                         ops::Rounding rounding) {
  constexpr Index kColumns = 2;  // registers of columns at a time
  Index num_shared = queries[0].num_rows;
  for (Index q = 1; q < kCount; ++q) {
    num_shared = std::min(num_shared, queries[q].num_rows);
  }
  Index c = 0;
  for (; c + kColumns * kWidth <= width; c += kColumns * kWidth) {
    V sums[to_size(kCount)][kColumns];
    for (Index q = 0; q < kCount; ++q) {
      for (Index part = 0; part < kColumns; ++part) {
        sums[q][part] = hn::Zero(D());
      }
    }
    for (Index idx = 0; idx < num_shared; ++idx) {
      const float* row = row_of(idx) + c;
      for (Index part = 0; part < kColumns; ++part) {
        const V value = hn::LoadU(D(), row + part * kWidth);
        for (Index q = 0; q < kCount; ++q) {
          sums[q][part] = hn::MulAdd(hn::Set(D(), queries[q].weights[idx]), value, sums[q][part]);
        }
      }
    }
    for (Index q = 0; q < kCount; ++q) {
      for (Index idx = num_shared; idx < queries[q].num_rows; ++idx) {
        const float* row = row_of(idx) + c;
        for (Index part = 0; part < kColumns; ++part) {
          sums[q][part] = hn::MulAdd(hn::Set(D(), queries[q].weights[idx]),
                                     hn::LoadU(D(), row + part * kWidth), sums[q][part]);
        }
      }
      const V denominator = hn::Set(D(), queries[q].denominator);
      for (Index part = 0; part < kColumns; ++part) {
        hn::StoreU(rounded(hn::Div(sums[q][part], denominator), rounding), D(),
                   queries[q].out + c + part * kWidth);
      }
    }
  }
  for (; c < width; ++c) {
    for (Index q = 0; q < kCount; ++q) {
      float sum = 0;
      for (Index idx = 0; idx < queries[q].num_rows; ++idx) {
        sum = std::fma(queries[q].weights[idx], row_of(idx)[c], sum);
      }
      queries[q].out[c] =
          hn::GetLane(rounded(hn::Set(D(), sum / queries[q].denominator), rounding));
    }
  }
}

using SinkArgs = ops::SinkAttentionArgs<float>;
constexpr Index kHeads = SinkArgs::kHeadsPerTile;

template <Index kCount>
void attend(const SinkArgs& args, Index token, Index head, float* scratch) {
  const ops::VisibleRows& visible = args.visible[to_size(token)];
  const Index num_rows = visible.num_window_rows + visible.num_compressed_rows;
  const Index stride = ceil_div(num_rows, kLanes) * kLanes;
  const Index width = args.window.width;
  const auto row_of = [&](Index idx) { return args.visible_row(token, idx); };
  const float* queries[to_size(kCount)];
  float* scores[to_size(kCount)];
  for (Index h = 0; h < kCount; ++h) {
    queries[h] = args.query.row(token) + (head + h) * width;
    scores[h] = scratch + h * stride;
  }
  score_rows<kCount>(row_of, queries, width, static_cast<float>(args.scale), num_rows, scores);
  RowSum sums[to_size(kCount)];
  for (Index h = 0; h < kCount; ++h) {
    const float sink = args.sink[to_size(head + h)];
    sums[h] = {scores[h], num_rows, soften(scores[h], num_rows, sink, args.rounding),
               args.out.row(token) + (head + h) * width};
  }
  add_rows<kCount>(row_of, sums, width, args.rounding);
}

}  // namespace

void sink_attention(const SinkArgs& args, platform::ThreadPool& pool) {
  const Index num_heads = to_index(args.sink.size());
  const Index num_head_tiles = ceil_div(num_heads, kHeads);
  pool.parallel_for(args.query.rows * num_head_tiles, [&](Index tile, int thread_idx) {
    const Index token = tile / num_head_tiles;
    const Index head = tile % num_head_tiles * kHeads;
    float* scores = args.scratch.row(thread_idx);
    if (head + kHeads <= num_heads) {
      attend<kHeads>(args, token, head, scores);
      return;
    }
    for (Index rest = head; rest < num_heads; ++rest) {
      attend<1>(args, token, rest, scores);
    }
  });
}

namespace {

using GroupedArgs = ops::GroupedAttentionArgs<float>;
constexpr Index kQueries = GroupedArgs::kQueriesPerTile;

// Queries [first, first + kCount) of one head of keys and values: query i is head i mod group of
// token i / group.
template <Index kCount>
void attend_grouped(const GroupedArgs& args, Index shared_head, Index first, float* scratch) {
  const Index width = args.head_dim;
  const Index group = args.heads_per_group();
  const Index column = shared_head * width;
  const auto key_of = [&](Index idx) { return args.keys.row(idx) + column; };
  const auto value_of = [&](Index idx) { return args.values.row(idx) + column; };
  const Index stride = args.scratch.columns / kQueries;
  const auto scale = static_cast<float>(args.scale);
  const float* queries[to_size(kCount)];
  float* scores[to_size(kCount)];
  RowSum sums[to_size(kCount)];
  Index most = 0;
  for (Index q = 0; q < kCount; ++q) {
    const Index token = (first + q) / group;
    const Index head = shared_head * group + (first + q) % group;
    queries[q] = args.query.row(token) + head * width;
    scores[q] = scratch + q * stride;
    sums[q] = {scores[q], args.num_visible[to_size(token)], 0, args.out.row(token) + head * width};
    most = std::max(most, sums[q].num_rows);
  }
  score_rows<kCount>(key_of, queries, width, scale, most, scores);
  for (Index q = 0; q < kCount; ++q) {
    sums[q].denominator = soften(scores[q], sums[q].num_rows, kMinusInfinity, ops::Rounding::None);
  }
  add_rows<kCount>(value_of, sums, width, ops::Rounding::None);
}

}  // namespace

void grouped_attention(const GroupedArgs& args, platform::ThreadPool& pool) {
  const Index num_queries = args.query.rows * args.heads_per_group();
  const Index num_tiles = ceil_div(num_queries, kQueries);
  pool.parallel_for(args.num_key_value_heads() * num_tiles, [&](Index tile, int thread_idx) {
    const Index shared_head = tile / num_tiles;
    const Index first = tile % num_tiles * kQueries;
    float* scratch = args.scratch.row(thread_idx);
    if (first + kQueries <= num_queries) {
      attend_grouped<kQueries>(args, shared_head, first, scratch);
      return;
    }
    for (Index rest = first; rest < num_queries; ++rest) {
      attend_grouped<1>(args, shared_head, rest, scratch);
    }
  });
}

namespace {

using SelectArgs = ops::IndexSelectArgs<float>;

void score_blocks(const SelectArgs& args, Index token, Index first, Index end, float* scores) {
  const Index width = args.keys.width;
  const Index num_heads = args.weight.columns;
  const float* weights = args.weight.row(token);
  for (Index block = first; block < end; ++block) {
    const float* key = args.keys.row(block);
    float score = 0;
    for (Index head = 0; head < num_heads; ++head) {
      float product = dot(args.query.row(token) + head * width, key, width);
      if (args.rounding == ops::Rounding::Bf16) {
        product = numeric::round_bf16(product);
        score += numeric::round_bf16(std::max(product, 0.0F) * weights[head]);
      } else {
        score += std::max(product, 0.0F) * weights[head];
      }
    }
    scores[block] = args.rounding == ops::Rounding::Bf16 ? numeric::round_bf16(score) : score;
  }
}

}  // namespace

void index_select(const SelectArgs& args, platform::ThreadPool& pool) {
  constexpr Index kBlocksPerTile = 128;
  constexpr Index kFewTokens = 8;
  const Index top_k = args.out.columns;
  // Many tokens: one each. A few with a long context: all threads score the same token. Either way
  // a score is computed alone, so the choice does not show in results.
  if (args.out.rows >= kFewTokens) {
    pool.parallel_for(args.out.rows, [&](Index token, int thread_idx) {
      const Index num_visible = args.num_visible[to_size(token)];
      float* scores = args.scratch.row(thread_idx);
      if (num_visible > top_k) {
        score_blocks(args, token, 0, num_visible, scores);
      }
      ops::select_top_k(scores, num_visible, top_k, args.out.row(token));
    });
    return;
  }
  for (Index token = 0; token < args.out.rows; ++token) {
    const Index num_visible = args.num_visible[to_size(token)];
    float* scores = args.scratch.row(0);
    if (num_visible > top_k) {
      pool.parallel_for(ceil_div(num_visible, kBlocksPerTile), [&](Index tile, int /*thread*/) {
        const Index first = tile * kBlocksPerTile;
        score_blocks(args, token, first, std::min(first + kBlocksPerTile, num_visible), scores);
      });
    }
    ops::select_top_k(scores, num_visible, top_k, args.out.row(token));
  }
}

namespace {

using PoolArgs = ops::CompressPoolArgs<float>;

// One register of channels of one block: `count` of them are real.
void pool_channels(const PoolArgs& args, Index block, Index channel, Index count, float* out) {
  const Index width = args.input.width / 2;  // values, then as many gates
  const Index start = block * args.block_tokens;
  const Index first = args.has_overlap ? std::max<Index>(0, start - args.block_tokens) : start;
  const auto load = [&](const float* from) {
    if (count == kWidth) {
      return hn::LoadU(D(), from);
    }
    HWY_ALIGN float padded[kLanes] = {};
    std::copy(from, from + count, padded);
    return hn::Load(D(), padded);
  };
  const auto column_of = [&](Index token) {
    return channel + (args.has_overlap && token >= start ? width / 2 : 0);
  };
  V largest = hn::Set(D(), kMinusInfinity);
  for (Index token = first; token < start + args.block_tokens; ++token) {
    largest = hn::Max(largest, load(args.input.row(token) + width + column_of(token)));
  }
  V sum = hn::Zero(D());
  V weighted = hn::Zero(D());
  for (Index token = first; token < start + args.block_tokens; ++token) {
    const float* row = args.input.row(token) + column_of(token);
    const V weight = hn::Exp(D(), hn::Sub(load(row + width), largest));
    sum = hn::Add(sum, weight);
    weighted = hn::MulAdd(weight, load(row), weighted);
  }
  HWY_ALIGN float result[kLanes];
  hn::Store(rounded(hn::Div(weighted, sum), args.rounding), D(), result);
  std::copy(result, result + count, out);
}

}  // namespace

void compress_pool(const PoolArgs& args, platform::ThreadPool& pool) {
  constexpr Index kChannelsPerTile = 64;
  const Index width = args.out.columns;
  const Index num_tiles = ceil_div(width, kChannelsPerTile);
  pool.parallel_for(args.out.rows * num_tiles, [&](Index tile, int /*thread*/) {
    const Index row = tile / num_tiles;
    const Index end = std::min((tile % num_tiles + 1) * kChannelsPerTile, width);
    for (Index channel = tile % num_tiles * kChannelsPerTile; channel < end; channel += kWidth) {
      pool_channels(args, args.first_block + row, channel, std::min(kWidth, end - channel),
                    args.out.row(row) + channel);
    }
  });
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(sink_attention);
HWY_EXPORT(grouped_attention);
HWY_EXPORT(index_select);
HWY_EXPORT(compress_pool);

void fill_attention(ops::KernelTable<float>& table, const Isa& isa) {
  table.sink_attention = {select(HWY_DISPATCH_TABLE(sink_attention), isa), isa.name};
  table.grouped_attention = {select(HWY_DISPATCH_TABLE(grouped_attention), isa), isa.name};
  table.index_select = {select(HWY_DISPATCH_TABLE(index_select), isa), isa.name};
  table.compress_pool = {select(HWY_DISPATCH_TABLE(compress_pool), isa), isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
