// Attention of a few queries over all rows before, and the weighted sums of rows that it shares
// with attention of many.

// Not #pragma once: it is included once per target.
#if defined(FATHOM_CPU_FEW_QUERIES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_FEW_QUERIES_INL_H_
#undef FATHOM_CPU_FEW_QUERIES_INL_H_
#else
#define FATHOM_CPU_FEW_QUERIES_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "fathom/compute/backends/cpu/simd-inl.h"
#include "fathom/compute/numeric/small_floats.h"
#include "fathom/compute/ops/grouped_attention.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {

using GroupedArgs = ops::GroupedAttentionArgs<float>;  // of one sequence

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
inline constexpr Index kRowsPerBlock = GroupedArgs::kRowsPerBlock;

// Numbers of a row of the cache: fp32, or the bits of BF16.
HWY_INLINE float number_of(float number) {
  return number;
}
HWY_INLINE float number_of(std::uint16_t bits) {
  return numeric::bf16_to_float(bits);
}
HWY_INLINE V load_numbers(const float* from) {
  return hn::LoadU(D(), from);
}
HWY_INLINE V load_numbers(const std::uint16_t* from) {
  const hn::RebindToUnsigned<D> d32;
  const hn::Rebind<std::uint16_t, D> d16;
  return hn::BitCast(D(), hn::ShiftLeft<16>(hn::PromoteTo(d32, hn::LoadU(d16, from))));
}
HWY_INLINE LaneSet load_lanes(const std::uint16_t* from) {
  LaneSet lanes;
  for (Index i = 0; i < kRegisters; ++i) {
    lanes.v[i] = load_numbers(from + i * kWidth);
  }
  return lanes;
}
HWY_INLINE LaneSet load_tail(const std::uint16_t* from, Index count) {
  HWY_ALIGN float padded[kLanes] = {};
  std::transform(from, from + count, padded, numeric::bf16_to_float);
  return load_lanes(padded);
}

// Query i of a head of keys and values is head i mod group of token i / group.
HWY_INLINE Index token_of(const GroupedArgs& args, Index query) {
  return query / args.heads_per_group();
}

// Where it, or its result, begins in a row of all heads.
HWY_INLINE Index column_of(const GroupedArgs& args, Index head, Index query) {
  const Index group = args.heads_per_group();
  return (head * group + query % group) * args.head_dim;
}

HWY_INLINE Index num_visible_to(const GroupedArgs& args, Index query) {
  return args.num_visible[to_size(token_of(args, query))];
}

HWY_INLINE const float* query_of(const GroupedArgs& args, Index head, Index query) {
  return args.query.row(token_of(args, query)) + column_of(args, head, query);
}

HWY_INLINE float* result_of(const GroupedArgs& args, Index head, Index query) {
  return args.out.row(token_of(args, query)) + column_of(args, head, query);
}

// What one query has to do with the rows it sees.
struct RowSum {
  const float* weights;
  Index weight_stride;
  Index num_rows;
  float* out;
};

// Rows [first, end) of out[c] += sum_idx weights[idx] * row_of(idx)[c], or from zero, each query
// over its own number of rows, in ascending order. Rows that all queries have are read once.
template <Index kCount, Index kColumns, typename RowOf>
HWY_INLINE void add_columns(
    const RowOf& row_of, const RowSum* queries, Index first, Index end, bool from_zero, Index c) {
  V sums[to_size(kCount)][to_size(kColumns)];
  Index num_shared = end;
  for (Index q = 0; q < kCount; ++q) {
    num_shared = std::min(num_shared, queries[q].num_rows);
    for (Index part = 0; part < kColumns; ++part) {
      const float* from = queries[q].out + c + part * kWidth;
      sums[q][part] = from_zero ? hn::Zero(D()) : hn::LoadU(D(), from);
    }
  }
  for (Index idx = first; idx < num_shared; ++idx) {
    const auto* row = row_of(idx) + c;
    V numbers[to_size(kColumns)];
    for (Index part = 0; part < kColumns; ++part) {
      numbers[part] = load_numbers(row + part * kWidth);
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
      const auto* row = row_of(idx) + c;
      const V weight = hn::Set(D(), query.weights[idx * query.weight_stride]);
      for (Index part = 0; part < kColumns; ++part) {
        sums[q][part] = hn::MulAdd(weight, load_numbers(row + part * kWidth), sums[q][part]);
      }
    }
    for (Index part = 0; part < kColumns; ++part) {
      hn::StoreU(sums[q][part], D(), query.out + c + part * kWidth);
    }
  }
}

// All columns of some rows, so few that they stay in the caches next to a processor.
inline constexpr Index kRowsPerPart = 64;

template <Index kCount, typename RowOf>
HWY_INLINE void add_part(const RowOf& row_of,
                         const RowSum* queries,
                         Index first,
                         Index end,
                         bool from_zero,
                         Index width) {
  constexpr Index kColumns = kRegisters == 1 ? 4 : 2;  // registers of columns at a time
  Index c = 0;
  for (; c + kColumns * kWidth <= width; c += kColumns * kWidth) {
    add_columns<kCount, kColumns>(row_of, queries, first, end, from_zero, c);
  }
  for (; c + kWidth <= width; c += kWidth) {
    add_columns<kCount, 1>(row_of, queries, first, end, from_zero, c);
  }
  for (; c < width; ++c) {
    for (Index q = 0; q < kCount; ++q) {
      float sum = from_zero ? 0 : queries[q].out[c];
      for (Index idx = first; idx < std::min(end, queries[q].num_rows); ++idx) {
        sum = std::fma(queries[q].weights[idx * queries[q].weight_stride],
                       number_of(row_of(idx)[c]), sum);
      }
      queries[q].out[c] = sum;
    }
  }
}

// to[c] += from[c].
HWY_INLINE void add_numbers(const float* from, Index width, float* to) {
  Index c = 0;
  for (; c + kWidth <= width; c += kWidth) {
    hn::StoreU(hn::Add(hn::LoadU(D(), to + c), hn::LoadU(D(), from + c)), D(), to + c);
  }
  for (; c < width; ++c) {
    to[c] += from[c];
  }
}

HWY_INLINE void divide(float denominator, Index width, float* numbers) {
  const V divisor = hn::Set(D(), denominator);
  Index c = 0;
  for (; c + kWidth <= width; c += kWidth) {
    hn::StoreU(hn::Div(hn::LoadU(D(), numbers + c), divisor), D(), numbers + c);
  }
  for (; c < width; ++c) {
    numbers[c] /= denominator;
  }
}

// out = the sum over all rows, block by block. `block_sums` [kCount, width] is room for one.
template <Index kCount, typename RowOf>
HWY_INLINE void add_rows(const RowOf& row_of,
                         const RowSum* queries,
                         Index width,
                         float* block_sums) {
  RowSum sums[to_size(kCount)];
  Index most = 0;
  for (Index q = 0; q < kCount; ++q) {
    sums[q] = queries[q];
    most = std::max(most, queries[q].num_rows);
  }
  for (Index block = 0; block < most; block += kRowsPerBlock) {
    const Index end = std::min(block + kRowsPerBlock, most);
    for (Index first = block; first < end; first += kRowsPerPart) {
      add_part<kCount>(row_of, sums, first, std::min(first + kRowsPerPart, end), first == block,
                       width);
    }
    for (Index q = 0; q < kCount; ++q) {
      if (block > 0 && queries[q].num_rows > block) {
        add_numbers(sums[q].out, width, queries[q].out);
      }
      sums[q].out = block_sums + q * width;
    }
  }
}

// Rows that share one reading of the queries: as many sums as registers hold.
inline constexpr Index kScoredRows = kRegisters == 1 ? 4 : 1;

// scores[q][first + r] = scale * (query q . row_of(first + r)) for kCount queries and kRows rows.
template <Index kCount, Index kRows, typename RowOf>
HWY_INLINE void score_some_rows(const RowOf& row_of,
                                const float* const* queries,
                                Index width,
                                float scale,
                                Index first,
                                float* const* scores) {
  decltype(row_of(first)) rows[to_size(kRows)];
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
    add([k](const auto* from) HWY_ATTR { return load_lanes(from + k); });
  }
  if (k < width) {
    add([k, width](const auto* from) HWY_ATTR { return load_tail(from + k, width - k); });
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

struct Range {
  Index first;
  Index end;
};

// Queries [first_query, first_query + num_queries), of which there are few, of heads of keys and
// values. The heads of a row lie side by side, and a processor fetches what lies behind what it
// reads, so all heads of some rows are computed before the next rows. Rows in blocks and heads
// can be computed by several threads: each score, and each block's sum, is one thread's.
//
// Number: what rows hold, float or the bits of BF16.
template <typename Number>
class FewQueries {
 public:
  // `scratch`: GroupedAttentionArgs::scratch_columns.
  FewQueries(const GroupedArgs& args,
             const Range& heads,
             Index first_query,
             Index num_queries,
             float* scratch)
      : args_(args),
        keys_(args.keys.table<Number>()),
        values_(args.values.table<Number>()),
        heads_(heads),
        first_query_(first_query),
        num_queries_(num_queries),
        width_(args.head_dim),
        num_rows_(num_visible(num_queries - 1)),
        stride_(ceil_div(num_rows_, kLanes) * kLanes),
        scores_(scratch),
        denominators_(scores_ + num_heads() * num_queries * stride_),
        block_sums_(denominators_ + num_heads() * num_queries) {}

  Index num_blocks() const { return ceil_div(num_rows_, kRowsPerBlock); }

  // scores[h, q, idx] for the rows of a block.
  void score(const Range& heads, Index block) const {
    const Range rows = rows_of(block);
    for (Index first = rows.first; first < rows.end; first += kRowsPerPart) {
      const Index end = std::min(first + kRowsPerPart, rows.end);
      read(keys_, heads, {first, end});
      for_groups(heads, [&](auto count, Index head, Index query) HWY_ATTR {
        this->template score_rows<decltype(count)::value>(head, query, first, end);
      });
    }
  }

  // Scores become weights.
  void soften_scores(const Range& heads) const {
    for (Index head = heads.first; head < heads.end; ++head) {
      for (Index q = 0; q < num_queries_; ++q) {
        denominator_of(head, q) = soften(scores_of(head, q), num_visible(q));
      }
    }
  }

  // The weighted sum of a block's values: of the first one in the results.
  void add_values(const Range& heads, Index block) const {
    const Range rows = rows_of(block);
    for (Index first = rows.first; first < rows.end; first += kRowsPerPart) {
      const Index end = std::min(first + kRowsPerPart, rows.end);
      read(values_, heads, {first, end});
      for_groups(heads, [&](auto count, Index head, Index query) HWY_ATTR {
        constexpr Index kCount = decltype(count)::value;
        RowSum sums[to_size(kCount)];
        for (Index q = 0; q < kCount; ++q) {
          sums[q] = {scores_of(head, query + q), 1, num_visible(query + q),
                     sum_of(block, head, query + q)};
        }
        const auto value_of = [&](Index idx) { return values_.row(idx) + head * width_; };
        add_part<kCount>(value_of, sums, first, end, first == rows.first, width_);
      });
    }
  }

  void finish(const Range& heads) const {
    for (Index head = heads.first; head < heads.end; ++head) {
      for (Index q = 0; q < num_queries_; ++q) {
        float* out = sum_of(0, head, q);
        for (Index block = 1; block * kRowsPerBlock < num_visible(q); ++block) {
          add_numbers(sum_of(block, head, q), width_, out);
        }
        divide(denominator_of(head, q), width_, out);
      }
    }
  }

  // All of it.
  void attend() const {
    for (Index block = 0; block < num_blocks(); ++block) {
      score(heads_, block);
    }
    soften_scores(heads_);
    for (Index block = 0; block < num_blocks(); ++block) {
      add_values(heads_, block);
    }
    finish(heads_);
  }

 private:
  Index num_heads() const { return heads_.end - heads_.first; }
  // Of a query among those of the heads.
  Index place_of(Index head, Index query) const {
    return (head - heads_.first) * num_queries_ + query;
  }
  Index num_visible(Index query) const { return num_visible_to(args_, first_query_ + query); }
  Range rows_of(Index block) const {
    return {block * kRowsPerBlock, std::min((block + 1) * kRowsPerBlock, num_rows_)};
  }
  float* scores_of(Index head, Index query) const {
    return scores_ + place_of(head, query) * stride_;
  }
  float& denominator_of(Index head, Index query) const {
    return denominators_[place_of(head, query)];
  }
  float* sum_of(Index block, Index head, Index query) const {
    if (block == 0) {
      return result_of(args_, head, first_query_ + query);
    }
    const Index before = (block - 1) * num_heads() * num_queries_;
    return block_sums_ + (before + place_of(head, query)) * width_;
  }

  // Brings rows of long sequences into the caches, from end to end: so they come at the rate of
  // memory. The parts of one head, which lie apart, come at half of it, fetched ahead by
  // instructions or not.
  void read(const tensor::RowTable<Number>& table, const Range& heads, const Range& rows) const {
    if (num_blocks() == 1) {
      return;
    }
    constexpr Index kLine = 64 / sizeof(Number);
    for (Index idx = rows.first; idx < rows.end; ++idx) {
      const volatile Number* row = table.row(idx);
      for (Index c = heads.first * width_; c < heads.end * width_; c += kLine) {
        static_cast<void>(row[c]);
      }
    }
  }

  // As many queries of a head at a time as registers hold.
  template <typename Body>
  void for_groups(const Range& heads, const Body& body) const {
    for (Index head = heads.first; head < heads.end; ++head) {
      Index query = 0;
      for (; query + 4 <= num_queries_; query += 4) {
        body(std::integral_constant<Index, 4>(), head, query);
      }
      switch (num_queries_ - query) {
        case 3:
          body(std::integral_constant<Index, 3>(), head, query);
          break;
        case 2:
          body(std::integral_constant<Index, 2>(), head, query);
          break;
        case 1:
          body(std::integral_constant<Index, 1>(), head, query);
          break;
        default:
          break;
      }
    }
  }

  template <Index kCount>
  void score_rows(Index head, Index query, Index first, Index end) const {
    const auto key_of = [&](Index idx) { return keys_.row(idx) + head * width_; };
    const auto scale = static_cast<float>(args_.scale);
    const float* queries[to_size(kCount)];
    float* scores[to_size(kCount)];
    for (Index q = 0; q < kCount; ++q) {
      queries[q] = query_of(args_, head, first_query_ + query + q);
      scores[q] = scores_of(head, query + q);
    }
    Index idx = first;
    for (; idx + kScoredRows <= end; idx += kScoredRows) {
      score_some_rows<kCount, kScoredRows>(key_of, queries, width_, scale, idx, scores);
    }
    for (; idx < end; ++idx) {
      score_some_rows<kCount, 1>(key_of, queries, width_, scale, idx, scores);
    }
  }

  const GroupedArgs& args_;
  tensor::RowTable<Number> keys_;
  tensor::RowTable<Number> values_;
  Range heads_;
  Index first_query_;
  Index num_queries_;
  Index width_;
  Index num_rows_;
  Index stride_;  // of the scores of a query
  float* scores_;
  float* denominators_;
  float* block_sums_;  // of all blocks but the first
};

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
