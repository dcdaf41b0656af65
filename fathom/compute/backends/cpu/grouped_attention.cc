// Attention over all rows before, shared by groups of query heads.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/grouped_attention.cc"
#include <algorithm>
#include <cmath>
#include <limits>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/isa_table.h"
#include "fathom/compute/backends/cpu/simd-inl.h"

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
