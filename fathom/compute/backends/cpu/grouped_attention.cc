// Attention over all rows before, shared by groups of query heads.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/grouped_attention.cc"
#include <algorithm>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/few_queries-inl.h"
#include "fathom/compute/backends/cpu/head_lanes-inl.h"
#include "fathom/compute/backends/cpu/isa_table.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

using Sequences = ops::GroupedAttentionsArgs<float>;

constexpr Index kQueries = GroupedArgs::kQueriesPerTile;
static_assert(kQueries == kLanes);

// Sixteen queries of a head of keys and values: queries in lanes. The sums are those of a few, in
// the same order.

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

// Parts of rows as fp32; `room` [kCount, width] for those that are not.
template <Index kCount>
HWY_INLINE void as_floats(const float** rows, Index /*width*/, float* /*room*/, const float** to) {
  std::copy_n(rows, kCount, to);
}
template <Index kCount>
HWY_INLINE void as_floats(const std::uint16_t** rows, Index width, float* room, const float** to) {
  for (Index r = 0; r < kCount; ++r) {
    float* floats = room + r * width;
    Index k = 0;
    for (; k + kWidth <= width; k += kWidth) {
      hn::StoreU(load_numbers(rows[r] + k), D(), floats + k);
    }
    std::transform(rows[r] + k, rows[r] + width, floats + k, numeric::bf16_to_float);
    to[r] = floats;
  }
}

// scores[row * 16 + q]; what query q does not see is minus infinity. `room`: of as_floats.
template <typename Number>
void score_sixteen(const GroupedArgs& args,
                   Index head,
                   Index first_query,
                   const float* queries,
                   float* room,
                   float* scores) {
  const tensor::RowTable<Number> keys = args.keys.table<Number>();
  const Index most = num_visible_to(args, first_query + kQueries - 1);
  const Index column = head * args.head_dim;
  const V scale = hn::Set(D(), static_cast<float>(args.scale));
  for (Index idx = 0; idx < most; idx += kRowsPerTree) {
    const Number* rows[to_size(kRowsPerTree)];
    find_rows<kRowsPerTree>([&](Index row) { return keys.row(row) + column; }, idx, most, rows);
    const float* floats[to_size(kRowsPerTree)];
    as_floats<kRowsPerTree>(rows, args.head_dim, room, floats);
    RowSums sums;
    sum_tree<0, 1>(floats, queries, args.head_dim, sums);
    for (Index r = 0; r < kRowsPerTree; ++r) {
      for (Index i = 0; i < kRegisters; ++i) {
        hn::StoreU(hn::Mul(sums[r].v[i], scale), D(), scores + (idx + r) * kLanes + i * kWidth);
      }
    }
  }
  for (Index q = 0; q < kQueries; ++q) {
    for (Index idx = num_visible_to(args, first_query + q); idx < most; ++idx) {
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

template <typename Number>
void attend_sixteen(const GroupedArgs& args, Index head, Index first_query, float* scratch) {
  const tensor::RowTable<Number> values = args.values.table<Number>();
  const Index column = head * args.head_dim;
  float* lanes = scratch;
  float* block_sums = lanes + args.head_dim * kLanes;
  float* scores = block_sums + args.head_dim * kLanes;
  const float* queries[to_size(kQueries)];
  for (Index q = 0; q < kQueries; ++q) {
    queries[q] = query_of(args, head, first_query + q);
  }
  spread_rows(queries, kQueries, args.head_dim, lanes);
  score_sixteen<Number>(args, head, first_query, lanes, block_sums, scores);
  HWY_ALIGN float denominators[kLanes];
  store_lanes(soften_sixteen(scores, num_visible_to(args, first_query + kQueries - 1)),
              denominators);
  RowSum sums[to_size(kQueries)];
  for (Index q = 0; q < kQueries; ++q) {
    sums[q] = {scores + q, kLanes, num_visible_to(args, first_query + q),
               result_of(args, head, first_query + q)};
  }
  const auto value_of = [&](Index idx) { return values.row(idx) + column; };
  for (Index q = 0; q < kQueries; q += 4) {
    add_rows<4>(value_of, sums + q, args.head_dim, block_sums);
  }
  for (Index q = 0; q < kQueries; ++q) {
    divide(denominators[q], args.head_dim, sums[q].out);
  }
}

Index num_queries_of(const GroupedArgs& args) {
  return args.query.rows * args.heads_per_group();
}

// How the decoded tokens of a step are shared out among threads. No result depends on it.
struct Shares {
  bool are_sequences_few;  // for so many threads: their heads are shared out, and rows of long ones
  Index heads_per_tile;    // of keys and values
};

Shares shares_of(const Sequences& args, int num_threads) {
  constexpr Index kTilesPerThread = 2;
  const Index num_heads = args.sequences.front().num_key_value_heads();
  const Index num_tiles = kTilesPerThread * num_threads;
  const auto num_decoded =
      std::count_if(args.sequences.begin(), args.sequences.end(),
                    [](const GroupedArgs& sequence) { return sequence.has_few_queries(); });
  const Index parts = ceil_div(num_tiles, std::max<Index>(num_decoded, 1));
  return {num_decoded < num_tiles, ceil_div(num_heads, std::min(parts, num_heads))};
}

bool is_in_tiles(const GroupedArgs& args, const Shares& shares) {
  return !args.has_few_queries() || !shares.are_sequences_few ||
         args.num_visible.back() <= kRowsPerBlock;
}

Index num_tiles_of(const GroupedArgs& args, const Shares& shares) {
  if (!is_in_tiles(args, shares)) {
    return 0;
  }
  return args.has_few_queries()
             ? ceil_div(args.num_key_value_heads(), shares.heads_per_tile)
             : args.num_key_value_heads() * ceil_div(num_queries_of(args), kQueries);
}

template <typename Number>
void attend_tile(const GroupedArgs& args, const Shares& shares, Index tile, float* scratch) {
  const Index num_queries = num_queries_of(args);
  if (args.has_few_queries()) {
    const Index first = tile * shares.heads_per_tile;
    const Range heads = {first,
                         std::min(first + shares.heads_per_tile, args.num_key_value_heads())};
    FewQueries<Number>(args, heads, 0, num_queries, scratch).attend();
    return;
  }
  const Index num_tiles = ceil_div(num_queries, kQueries);
  const Index head = tile / num_tiles;
  const Index first = tile % num_tiles * kQueries;
  if (first + kQueries <= num_queries) {
    attend_sixteen<Number>(args, head, first, scratch);
  } else {
    FewQueries<Number>(args, {head, head + 1}, first, num_queries - first, scratch).attend();
  }
}

// A sequence of few queries and many rows by all threads.
template <typename Number>
void attend_together(const GroupedArgs& args, float* scratch, platform::ThreadPool& pool) {
  const Index num_heads = args.num_key_value_heads();
  const FewQueries<Number> queries(args, {0, num_heads}, 0, num_queries_of(args), scratch);
  // Where there are few blocks, their heads apart.
  constexpr Index kTilesPerThread = 4;
  const Index parts = std::clamp<Index>(
      ceil_div(kTilesPerThread * pool.num_threads(), queries.num_blocks()), 1, num_heads);
  const Index heads_per_tile = ceil_div(num_heads, parts);
  const Index tiles_per_block = ceil_div(num_heads, heads_per_tile);
  const auto for_blocks = [&](const auto& body) {
    pool.parallel_for(queries.num_blocks() * tiles_per_block, [&](Index tile, int /*thread*/) {
      const Index first = tile % tiles_per_block * heads_per_tile;
      body(Range{first, std::min(first + heads_per_tile, num_heads)}, tile / tiles_per_block);
    });
  };
  const auto for_heads = [&](const auto& body) {
    pool.parallel_for(num_heads, [&](Index head, int /*thread*/) { body(Range{head, head + 1}); });
  };
  for_blocks([&](const Range& heads, Index block) { queries.score(heads, block); });
  for_heads([&](const Range& heads) { queries.soften_scores(heads); });
  for_blocks([&](const Range& heads, Index block) { queries.add_values(heads, block); });
  for_heads([&](const Range& heads) { queries.finish(heads); });
}

template <typename Number>
void attend(const Sequences& args, platform::ThreadPool& pool) {
  const Shares shares = shares_of(args, pool.num_threads());
  Index num_tiles = 0;
  for (const GroupedArgs& sequence : args.sequences) {
    num_tiles += num_tiles_of(sequence, shares);
  }
  pool.parallel_for(num_tiles, [&](Index tile, int thread_idx) {
    const GroupedArgs* sequence = args.sequences.data();
    for (; tile >= num_tiles_of(*sequence, shares); ++sequence) {
      tile -= num_tiles_of(*sequence, shares);
    }
    attend_tile<Number>(*sequence, shares, tile, args.scratch.row(thread_idx));
  });
  for (const GroupedArgs& sequence : args.sequences) {
    if (!is_in_tiles(sequence, shares)) {
      attend_together<Number>(sequence, args.scratch.row(0), pool);
    }
  }
}

}  // namespace

void grouped_attention(const Sequences& args, platform::ThreadPool& pool) {
  if (args.sequences.front().keys.dtype == tensor::DType::BF16) {
    attend<std::uint16_t>(args, pool);
  } else {
    attend<float>(args, pool);
  }
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
