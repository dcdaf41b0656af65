// Attention over all rows before, shared by groups of query heads.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/grouped_attention.cc"
#include <algorithm>
#include <cmath>
#include <limits>

#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/head_lanes-inl.h"
#include "fathom/compute/backends/cpu/isa_table.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

using GroupedArgs = ops::GroupedAttentionArgs<float>;  // of one sequence
using Sequences = ops::GroupedAttentionsArgs<float>;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr Index kQueries = Sequences::kQueriesPerTile;
static_assert(kQueries == kLanes);

// Queries [first, first + count) of one head of keys and values: query i is head i mod group of
// token i / group.
struct QueryTile {
  Index shared_head;
  Index first;
  Index count;
};

Index num_visible_to(const GroupedArgs& args, const QueryTile& tile, Index query) {
  return args.num_visible[to_size((tile.first + query) / args.heads_per_group())];
}

// Where a query, or its result, begins in a row of all heads.
Index head_column(const GroupedArgs& args, const QueryTile& tile, Index query) {
  const Index group = args.heads_per_group();
  return (tile.shared_head * group + (tile.first + query) % group) * args.head_dim;
}

const float* query_of(const GroupedArgs& args, const QueryTile& tile, Index query) {
  return args.query.row((tile.first + query) / args.heads_per_group()) +
         head_column(args, tile, query);
}

// Brings numbers of a row that is computed with so many rows later into the cache: a head's rows
// lie apart from each other, where the processor does not find the next one by itself.
constexpr Index kRowsAhead = 32;

template <typename RowOf>
HWY_INLINE void read_ahead(const RowOf& row_of, Index idx, Index num_rows, Index first, Index end) {
  constexpr Index kLine = 64 / sizeof(float);
  if (idx + kRowsAhead < num_rows) {
    const float* row = row_of(idx + kRowsAhead);
    for (Index c = first; c < end; c += kLine) {
      hwy::Prefetch(row + c);
    }
  }
}

// What one query has to do with the rows it sees.
struct RowSum {
  const float* weights;
  Index weight_stride;
  Index num_rows;
  float denominator;
  float* out;
};

// Rows [first, end) of out[c] = sum_idx weights[idx] * row_of(idx)[c] / denominator, each query
// over its own number of rows, in ascending order. Rows that all queries have are read once.
template <Index kCount, Index kColumns, typename RowOf>
HWY_INLINE void add_part(
    const RowOf& row_of, const RowSum* queries, Index first, Index end, bool is_last, Index c) {
  V sums[to_size(kCount)][to_size(kColumns)];
  Index num_shared = end;
  for (Index q = 0; q < kCount; ++q) {
    num_shared = std::min(num_shared, queries[q].num_rows);
    for (Index part = 0; part < kColumns; ++part) {
      const float* from = queries[q].out + c + part * kWidth;
      sums[q][part] = first == 0 ? hn::Zero(D()) : hn::LoadU(D(), from);
    }
  }
  for (Index idx = first; idx < num_shared; ++idx) {
    const float* row = row_of(idx) + c;
    // The first query sees the fewest rows.
    read_ahead(row_of, idx, queries[0].num_rows, c, c + kColumns * kWidth);
    V numbers[to_size(kColumns)];
    for (Index part = 0; part < kColumns; ++part) {
      numbers[part] = hn::LoadU(D(), row + part * kWidth);
    }
    for (Index q = 0; q < kCount; ++q) {
      const V weight = hn::Set(D(), queries[q].weights[idx * queries[q].weight_stride]);
      for (Index part = 0; part < kColumns; ++part) {
        sums[q][part] = hn::MulAdd(weight, numbers[part], sums[q][part]);
      }
    }
  }
  for (Index q = 0; q < kCount; ++q) {
    const RowSum& query = queries[q];
    for (Index idx = std::max(first, num_shared); idx < std::min(end, query.num_rows); ++idx) {
      const float* row = row_of(idx) + c;
      const V weight = hn::Set(D(), query.weights[idx * query.weight_stride]);
      for (Index part = 0; part < kColumns; ++part) {
        sums[q][part] = hn::MulAdd(weight, hn::LoadU(D(), row + part * kWidth), sums[q][part]);
      }
    }
    const V denominator = hn::Set(D(), query.denominator);
    for (Index part = 0; part < kColumns; ++part) {
      const V sum = is_last ? hn::Div(sums[q][part], denominator) : sums[q][part];
      hn::StoreU(sum, D(), query.out + c + part * kWidth);
    }
  }
}

// All rows and columns, in blocks of rows that stay in the first-level cache.
template <Index kCount, typename RowOf>
HWY_INLINE void add_rows(const RowOf& row_of, const RowSum* queries, Index width) {
  constexpr Index kRowsPerBlock = 64;
  constexpr Index kColumns = kRegisters == 1 ? 4 : 2;  // registers of columns at a time
  Index most = 0;
  for (Index q = 0; q < kCount; ++q) {
    most = std::max(most, queries[q].num_rows);
  }
  for (Index first = 0; first < most; first += kRowsPerBlock) {
    const Index end = std::min(first + kRowsPerBlock, most);
    Index c = 0;
    for (; c + kColumns * kWidth <= width; c += kColumns * kWidth) {
      add_part<kCount, kColumns>(row_of, queries, first, end, end == most, c);
    }
    for (; c + kWidth <= width; c += kWidth) {
      add_part<kCount, 1>(row_of, queries, first, end, end == most, c);
    }
  }
  for (Index c = width / kWidth * kWidth; c < width; ++c) {
    for (Index q = 0; q < kCount; ++q) {
      float sum = 0;
      for (Index idx = 0; idx < queries[q].num_rows; ++idx) {
        sum = std::fma(queries[q].weights[idx * queries[q].weight_stride], row_of(idx)[c], sum);
      }
      queries[q].out[c] = sum / queries[q].denominator;
    }
  }
}

// A few queries: dimensions in lanes.

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
  // Four sums for each query, so that they are added up across registers together.
  constexpr Index kSums = kRows == 4 ? 16 : kRows * kCount;
  LaneSet sums[to_size(kSums)];
  for (Index i = 0; i < kSums; ++i) {
    sums[i] = zero_lanes();
  }
  for (Index r = 0; r < kRows; ++r) {
    rows[r] = row_of(first + r);
  }
  const auto add = [&](const auto& load) HWY_ATTR {
    LaneSet parts[to_size(kRows)];
    for (Index r = 0; r < kRows; ++r) {
      parts[r] = load(rows[r]);
    }
    for (Index q = 0; q < kCount; ++q) {
      const LaneSet query = load(queries[q]);
      for (Index r = 0; r < kRows; ++r) {
        multiply_add(query, parts[r], sums[q * kRows + r]);
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
  if constexpr (kRows == 4 && kRegisters == 1) {
    HWY_ALIGN float results[kLanes];
    hn::Store(hn::Mul(sum_16_lane_sets(sums), hn::Set(D(), scale)), D(), results);
    for (Index q = 0; q < kCount; ++q) {
      std::copy_n(results + 4 * q, 4, scores[q] + first);
    }
    return;
  }
  for (Index r = 0; r < kRows; ++r) {
    for (Index q = 0; q < kCount; ++q) {
      scores[q][first + r] = sum_lanes(sums[q * kRows + r]) * scale;
    }
  }
}

// Scores become weights exp(score - largest); returns the denominator. Weights behind the last are
// 0.
HWY_INLINE float soften(float* scores, Index num_rows) {
  const Index padded = ceil_div(num_rows, kLanes) * kLanes;
  std::fill(scores + num_rows, scores + padded, kMinusInfinity);
  V most = hn::Set(D(), kMinusInfinity);
  for (Index i = 0; i < padded; i += kWidth) {
    most = hn::Max(most, hn::LoadU(D(), scores + i));
  }
  const V shift = hn::Set(D(), hn::GetLane(hn::MaxOfLanes(D(), most)));
  LaneSet sum = zero_lanes();
  for (Index i = 0; i < padded; i += kLanes) {
    for (Index part = 0; part < kRegisters; ++part) {
      float* at = scores + i + part * kWidth;
      const V weight = hn::Exp(D(), hn::Sub(hn::LoadU(D(), at), shift));
      sum.v[part] = hn::Add(sum.v[part], weight);
      hn::StoreU(weight, D(), at);
    }
  }
  return sum_lanes(sum);
}

template <Index kCount>
void attend_few(const GroupedArgs& args, const QueryTile& tile, float* scratch) {
  const Index column = tile.shared_head * args.head_dim;
  const auto key_of = [&](Index idx) { return args.keys.row(idx) + column; };
  const auto value_of = [&](Index idx) { return args.values.row(idx) + column; };
  const auto scale = static_cast<float>(args.scale);
  Index most = 0;
  for (Index q = 0; q < kCount; ++q) {
    most = std::max(most, num_visible_to(args, tile, q));
  }
  const Index stride = ceil_div(most, kLanes) * kLanes;
  const float* queries[to_size(kCount)];
  float* scores[to_size(kCount)];
  RowSum sums[to_size(kCount)];
  for (Index q = 0; q < kCount; ++q) {
    queries[q] = query_of(args, tile, q);
    scores[q] = scratch + q * stride;
  }
  Index idx = 0;
  for (; idx + kScoredRows <= most; idx += kScoredRows) {
    for (Index r = 0; r < kScoredRows; ++r) {
      read_ahead(key_of, idx + r, most, 0, args.head_dim);
    }
    score_some_rows<kCount, kScoredRows>(key_of, queries, args.head_dim, scale, idx, scores);
  }
  for (; idx < most; ++idx) {
    score_some_rows<kCount, 1>(key_of, queries, args.head_dim, scale, idx, scores);
  }
  for (Index q = 0; q < kCount; ++q) {
    const Index num_rows = num_visible_to(args, tile, q);
    sums[q] = {
        scores[q], 1, num_rows, soften(scores[q], num_rows),
        args.out.row((tile.first + q) / args.heads_per_group()) + head_column(args, tile, q)};
  }
  add_rows<kCount>(value_of, sums, args.head_dim);
}

// Sixteen queries: queries in lanes. The sums are those of above, in the same order.

constexpr Index kRowsPerTree = kRegisters == 1 ? 4 : 1;
using RowSums = LaneSet[to_size(kRowsPerTree)];

// The sum over dimensions of lanes kLane, kLane + kStep, ... as sum_lanes takes it: a lane's own
// dimensions one after another, then lane by lane as a tree.
template <Index kLane, Index kStep>
HWY_INLINE void sum_tree(const float* const* rows,
                         const float* queries,
                         Index width,
                         RowSums& sums) {
  if constexpr (kStep == kLanes) {
    for (Index r = 0; r < kRowsPerTree; ++r) {
      sums[r] = zero_lanes();
    }
    for (Index k = kLane; k < width; k += kLanes) {
      const LaneSet query = load_lanes(queries + k * kLanes);
      for (Index r = 0; r < kRowsPerTree; ++r) {
        const V number = hn::Set(D(), rows[r][k]);
        for (Index i = 0; i < kRegisters; ++i) {
          sums[r].v[i] = hn::MulAdd(query.v[i], number, sums[r].v[i]);
        }
      }
    }
  } else {
    sum_tree<kLane, 2 * kStep>(rows, queries, width, sums);
    RowSums others;
    sum_tree<kLane + kStep, 2 * kStep>(rows, queries, width, others);
    for (Index r = 0; r < kRowsPerTree; ++r) {
      for (Index i = 0; i < kRegisters; ++i) {
        sums[r].v[i] = hn::Add(sums[r].v[i], others[r].v[i]);
      }
    }
  }
}

// scores[row * 16 + q]; what query q does not see is minus infinity.
void score_sixteen(const GroupedArgs& args,
                   const QueryTile& tile,
                   Index most,
                   const float* queries,
                   float* scores) {
  const Index column = tile.shared_head * args.head_dim;
  const V scale = hn::Set(D(), static_cast<float>(args.scale));
  for (Index idx = 0; idx < most; idx += kRowsPerTree) {
    const float* rows[to_size(kRowsPerTree)];
    find_rows<kRowsPerTree>([&](Index row) { return args.keys.row(row) + column; }, idx, most,
                            rows);
    RowSums sums;
    sum_tree<0, 1>(rows, queries, args.head_dim, sums);
    for (Index r = 0; r < kRowsPerTree; ++r) {
      for (Index i = 0; i < kRegisters; ++i) {
        hn::StoreU(hn::Mul(sums[r].v[i], scale), D(), scores + (idx + r) * kLanes + i * kWidth);
      }
    }
  }
  for (Index q = 0; q < kQueries; ++q) {
    for (Index idx = num_visible_to(args, tile, q); idx < most; ++idx) {
      scores[idx * kLanes + q] = kMinusInfinity;
    }
  }
}

// As soften() for sixteen queries side by side.
LaneSet soften_sixteen(float* scores, Index num_rows) {
  LaneSet most;
  for (Index i = 0; i < kRegisters; ++i) {
    most.v[i] = hn::Set(D(), kMinusInfinity);
  }
  for (Index idx = 0; idx < num_rows; ++idx) {
    for (Index i = 0; i < kRegisters; ++i) {
      most.v[i] = hn::Max(most.v[i], hn::LoadU(D(), scores + idx * kLanes + i * kWidth));
    }
  }
  HWY_ALIGN float sums[kLanes * kLanes] = {};
  for (Index idx = 0; idx < num_rows; ++idx) {
    for (Index i = 0; i < kRegisters; ++i) {
      float* at = scores + idx * kLanes + i * kWidth;
      float* sum = sums + idx % kLanes * kLanes + i * kWidth;
      const V weight = hn::Exp(D(), hn::Sub(hn::LoadU(D(), at), most.v[i]));
      hn::Store(hn::Add(hn::Load(D(), sum), weight), D(), sum);
      hn::StoreU(weight, D(), at);
    }
  }
  for (Index half = kLanes / 2; half > 0; half /= 2) {
    for (Index i = 0; i < half * kLanes; i += kWidth) {
      hn::Store(hn::Add(hn::Load(D(), sums + i), hn::Load(D(), sums + half * kLanes + i)), D(),
                sums + i);
    }
  }
  return load_lanes(sums);
}

void attend_sixteen(const GroupedArgs& args, const QueryTile& tile, float* scratch) {
  const Index column = tile.shared_head * args.head_dim;
  float* queries = scratch;
  float* scores = scratch + args.head_dim * kLanes;
  const float* heads[to_size(kQueries)];
  for (Index q = 0; q < kQueries; ++q) {
    heads[q] = query_of(args, tile, q);
  }
  spread_rows(heads, kQueries, args.head_dim, queries);
  const Index most = num_visible_to(args, tile, kQueries - 1);
  score_sixteen(args, tile, most, queries, scores);
  HWY_ALIGN float denominators[kLanes];
  store_lanes(soften_sixteen(scores, most), denominators);
  RowSum sums[to_size(kQueries)];
  for (Index q = 0; q < kQueries; ++q) {
    sums[q] = {
        scores + q, kLanes, num_visible_to(args, tile, q), denominators[q],
        args.out.row((tile.first + q) / args.heads_per_group()) + head_column(args, tile, q)};
  }
  const auto value_of = [&](Index idx) { return args.values.row(idx) + column; };
  for (Index q = 0; q < kQueries; q += 4) {
    add_rows<4>(value_of, sums + q, args.head_dim);
  }
}

// The queries of a tile that is not full, in groups that registers hold.
void attend_rest(const GroupedArgs& args, QueryTile tile, float* scratch) {
  const Index end = tile.first + tile.count;
  for (; tile.first + 4 <= end; tile.first += 4) {
    attend_few<4>(args, tile, scratch);
  }
  switch (end - tile.first) {
    case 3:
      return attend_few<3>(args, tile, scratch);
    case 2:
      return attend_few<2>(args, tile, scratch);
    case 1:
      return attend_few<1>(args, tile, scratch);
    default:
      return;
  }
}

// Queries of a tile of a sequence: a tile that is not full is shared out, where all of a decoded
// token's queries are one.
Index queries_per_tile(const GroupedArgs& args) {
  return args.query.rows * args.heads_per_group() < kQueries ? 4 : kQueries;
}

Index num_tiles_of(const GroupedArgs& args) {
  return args.num_key_value_heads() *
         ceil_div(args.query.rows * args.heads_per_group(), queries_per_tile(args));
}

void attend_tile(const GroupedArgs& args, Index tile_idx, float* scratch) {
  const Index num_queries = args.query.rows * args.heads_per_group();
  const Index step = queries_per_tile(args);
  const Index num_tiles = ceil_div(num_queries, step);
  const Index first = tile_idx % num_tiles * step;
  const QueryTile tile = {tile_idx / num_tiles, first, std::min(step, num_queries - first)};
  if (tile.count == kQueries) {
    attend_sixteen(args, tile, scratch);
  } else {
    attend_rest(args, tile, scratch);
  }
}

}  // namespace

void grouped_attention(const Sequences& args, platform::ThreadPool& pool) {
  Index num_tiles = 0;
  for (const GroupedArgs& sequence : args.sequences) {
    num_tiles += num_tiles_of(sequence);
  }
  pool.parallel_for(num_tiles, [&](Index tile, int thread_idx) {
    const GroupedArgs* sequence = args.sequences.data();
    for (; tile >= num_tiles_of(*sequence); ++sequence) {
      tile -= num_tiles_of(*sequence);
    }
    attend_tile(*sequence, tile, args.scratch.row(thread_idx));
  });
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(grouped_attention);

void fill_grouped_attention(ops::KernelTable<float>& table, const Isa& isa) {
  table.grouped_attention = {select(HWY_DISPATCH_TABLE(grouped_attention), isa), isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
