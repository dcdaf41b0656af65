// Kernels that work on rows one by one: norms, activations, rotations, residual streams.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/rows.cc"
#include <algorithm>
#include <cmath>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/isa_table.h"
#include "fathom/compute/backends/cpu/simd-inl.h"
#include "fathom/compute/ops/scalar_rows.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

// Columns of a wide row that one tile computes, where columns are independent.
constexpr Index kColumnsPerTile = 2048;

// Fewer numbers are done before the other threads would have begun; of exponentials, a quarter.
constexpr Index kFewNumbers = 4096;
constexpr Index kFewExponentials = kFewNumbers / 4;

// body(row, first_column, num_columns) for tiles of a [rows, columns] matrix.
template <typename Body>
void for_tiles(platform::ThreadPool& pool,
               Index rows,
               Index columns,
               const Body& body,
               Index few = kFewNumbers) {
  if (rows * columns <= few) {
    for (Index row = 0; row < rows; ++row) {
      body(row, 0, columns);
    }
    return;
  }
  const Index num_column_tiles = ceil_div(columns, kColumnsPerTile);
  pool.parallel_for(rows * num_column_tiles, [&](Index tile, int /*thread*/) {
    const Index first = tile % num_column_tiles * kColumnsPerTile;
    body(tile / num_column_tiles, first, std::min(kColumnsPerTile, columns - first));
  });
}

// body(row) for all rows of such a matrix.
template <typename Body>
void for_rows(platform::ThreadPool& pool, Index rows, Index columns, const Body& body) {
  if (rows * columns <= kFewNumbers) {
    for (Index row = 0; row < rows; ++row) {
      body(row);
    }
    return;
  }
  pool.parallel_for(rows, [&](Index row, int /*thread*/) { body(row); });
}

// Sum of the squares of a row, rounded one by one where the official numerics do.
HWY_INLINE float sum_of_squares(const float* x, Index count, ops::Rounding rounding) {
  LaneSet sum = zero_lanes();
  const auto add = [&](const LaneSet& values) {
    for (Index i = 0; i < kRegisters; ++i) {
      if (rounding == ops::Rounding::Bf16) {
        sum.v[i] = hn::Add(sum.v[i], round_bf16(hn::Mul(values.v[i], values.v[i])));
      } else {
        sum.v[i] = hn::MulAdd(values.v[i], values.v[i], sum.v[i]);
      }
    }
  };
  Index k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    add(load_lanes(x + k));
  }
  if (k < count) {
    add(load_tail(x + k, count - k));
  }
  return sum_lanes(sum);
}

}  // namespace

void rms_norm(const ops::RmsNormArgs<float>& args, platform::ThreadPool& pool) {
  const Index width = args.x.columns;
  for_rows(pool, args.x.rows, width, [&](Index row) {
    const float* x = args.x.row(row);
    const float mean = sum_of_squares(x, width, ops::Rounding::None) / static_cast<float>(width);
    const V factor = hn::Set(D(), 1.0F / std::sqrt(mean + static_cast<float>(args.epsilon)));
    map_row(width, args.out.row(row), [&](const auto& load) {
      return rounded(hn::Mul(load(args.weight.data()), hn::Mul(load(x), factor)), args.rounding);
    });
  });
}

void head_norm(const ops::HeadNormArgs<float>& args, platform::ThreadPool& pool) {
  const Index width = args.x.columns;
  for_rows(pool, args.x.rows, width, [&](Index row) {
    float* x = args.x.row(row);
    const float sum = sum_of_squares(x, width, args.rounding);
    const float mean = ops::rounded(sum / static_cast<float>(width), args.rounding);
    const float shifted = ops::rounded(mean + static_cast<float>(args.epsilon), args.rounding);
    const V factor = hn::Set(D(), ops::rounded(1.0F / std::sqrt(shifted), args.rounding));
    map_row(width, x,
            [&](const auto& load) { return rounded(hn::Mul(load(x), factor), args.rounding); });
  });
}

void swiglu(const ops::SwigluArgs<float>& args, platform::ThreadPool& pool) {
  const V high = hn::Set(D(), static_cast<float>(args.limit));
  const V low = hn::Neg(high);
  const auto activate = [&](Index row, Index first, Index count) {
    const V weight = hn::Set(D(), args.weight == nullptr ? 1.0F : args.weight[row]);
    const float* gates = args.gate.row(row) + first;
    const float* ups = args.up.row(row) + first;
    map_row(count, args.out.row(row) + first, [&](const auto& load) {
      const V gate = hn::Min(load(gates), high);
      const V up = hn::Max(hn::Min(load(ups), high), low);
      return rounded(hn::Mul(hn::Mul(hn::Mul(gate, sigmoid(gate)), up), weight), args.rounding);
    });
  };
  for_tiles(pool, args.gate.rows, args.gate.columns, activate, kFewExponentials);
}

void scale(const ops::ScaleArgs<float>& args, platform::ThreadPool& pool) {
  const V factor = hn::Set(D(), args.factor);
  for_tiles(pool, args.x.rows, args.x.columns, [&](Index row, Index first, Index count) {
    float* x = args.x.row(row) + first;
    map_row(count, x,
            [&](const auto& load) { return rounded(hn::Mul(load(x), factor), args.rounding); });
  });
}

void position_bias(const ops::PositionBiasArgs<float>& args, platform::ThreadPool& pool) {
  const Index width = args.rows.columns / 2;
  for_tiles(pool, args.rows.rows, width, [&](Index row, Index first, Index count) {
    const float* bias =
        args.bias.data() + args.positions[to_size(row)] % args.block_tokens * width + first;
    float* gate = args.rows.row(row) + width + first;
    map_row(count, gate, [&](const auto& load) { return hn::Add(load(gate), load(bias)); });
  });
}

void combine_experts(const ops::CombineExpertsArgs<float>& args, platform::ThreadPool& pool) {
  for_tiles(pool, args.out.rows, args.out.columns, [&](Index token, Index first, Index count) {
    map_row(count, args.out.row(token) + first, [&](const auto& load) {
      V sum = hn::Zero(D());
      for (Index chosen = 0; chosen < args.slot_of.columns; ++chosen) {
        sum = hn::Add(sum, load(args.slots.row(args.slot_of.row(token)[chosen]) + first));
      }
      return rounded(hn::Add(sum, load(args.shared.row(token) + first)), args.rounding);
    });
  });
}

void hyper_collapse(const ops::HyperCollapseArgs<float>& args, platform::ThreadPool& pool) {
  const Index width = args.out.columns;
  for_tiles(pool, args.out.rows, width, [&](Index token, Index first, Index count) {
    const float* weights = args.weights.row(token);
    const float* streams = args.streams.row(token) + first;
    map_row(count, args.out.row(token) + first, [&](const auto& load) {
      V sum = hn::Zero(D());
      for (Index j = 0; j < args.weights.columns; ++j) {
        sum = hn::MulAdd(hn::Set(D(), weights[j]), load(streams + j * width), sum);
      }
      return rounded(sum, args.rounding);
    });
  });
}

namespace {

// The merge of one token and columns [first, first + count): one register of columns at
// a time, because every stream's new value needs all old ones. Fixed numbers of streams live in
// registers.
template <Index kStreams>
void merge_streams(const ops::HyperMergeArgs<float>& args, Index token, Index first, Index count) {
  const Index width = args.y.columns;
  const float* y = args.y.row(token) + first;
  float* streams = args.streams.row(token) + first;
  V post[to_size(kStreams)];
  V comb[to_size(kStreams)][to_size(kStreams)];
  for (Index k = 0; k < kStreams; ++k) {
    post[k] = hn::Set(D(), args.post.row(token)[k]);
    for (Index j = 0; j < kStreams; ++j) {
      comb[j][k] = hn::Set(D(), args.comb.row(token)[j * kStreams + k]);
    }
  }
  for (Index i = 0; i < count; i += kWidth) {
    V old[to_size(kStreams)];
    for (Index j = 0; j < kStreams; ++j) {
      old[j] = hn::LoadU(D(), streams + j * width + i);
    }
    const V added = hn::LoadU(D(), y + i);
    for (Index k = 0; k < kStreams; ++k) {
      V sum = hn::Mul(post[k], added);
      for (Index j = 0; j < kStreams; ++j) {
        sum = hn::MulAdd(comb[j][k], old[j], sum);
      }
      hn::StoreU(rounded(sum, args.rounding), D(), streams + k * width + i);
    }
  }
}

// Any number of streams and columns.
void merge_any_streams(const ops::HyperMergeArgs<float>& args,
                       Index token,
                       Index first,
                       Index count) {
  constexpr Index kMaxStreams = ops::HyperMergeArgs<float>::kMaxStreams;
  const Index n = args.post.columns;
  const Index width = args.y.columns;
  const float* comb = args.comb.row(token);
  const float* y = args.y.row(token) + first;
  float* streams = args.streams.row(token) + first;
  for (Index i = 0; i < count; i += kWidth) {
    const Index part = std::min(kWidth, count - i);
    HWY_ALIGN float results[kMaxStreams][kLanes];
    for (Index k = 0; k < n; ++k) {
      map_row(part, results[k], [&](const auto& load) {
        V sum = hn::Mul(hn::Set(D(), args.post.row(token)[k]), load(y + i));
        for (Index j = 0; j < n; ++j) {
          sum = hn::MulAdd(hn::Set(D(), comb[j * n + k]), load(streams + j * width + i), sum);
        }
        return rounded(sum, args.rounding);
      });
    }
    for (Index k = 0; k < n; ++k) {
      std::copy(results[k], results[k] + part, streams + k * width + i);
    }
  }
}

}  // namespace

void hyper_merge(const ops::HyperMergeArgs<float>& args, platform::ThreadPool& pool) {
  for_tiles(pool, args.y.rows, args.y.columns, [&](Index token, Index first, Index count) {
    if (args.post.columns == 4 && count % kWidth == 0) {
      merge_streams<4>(args, token, first, count);
    } else {
      merge_any_streams(args, token, first, count);
    }
  });
}

void add_to_streams(const ops::AddToStreamsArgs<float>& args, platform::ThreadPool& pool) {
  const Index num_streams = args.each.rows / std::max<Index>(args.shared.rows, 1);
  for_tiles(pool, args.each.rows, args.each.columns, [&](Index row, Index first, Index count) {
    const float* shared = args.shared.row(row / num_streams) + first;
    float* each = args.each.row(row) + first;
    map_row(count, each, [&](const auto& load) {
      return rounded(hn::Add(load(each), load(shared)), args.rounding);
    });
  });
}

namespace {

// How the pairs of one head lie in memory.
template <ops::RopePairs kPairs>
struct PairsOf {
  float* head;
  Index count;

  float& first(Index pair) const {
    return head[kPairs == ops::RopePairs::Neighbours ? 2 * pair : pair];
  }
  float& second(Index pair) const {
    return head[kPairs == ops::RopePairs::Neighbours ? 2 * pair + 1 : pair + count];
  }
  HWY_INLINE void load(Index pair, V& first, V& second) const {
    if constexpr (kPairs == ops::RopePairs::Neighbours) {
      hn::LoadInterleaved2(D(), head + 2 * pair, first, second);
    } else {
      first = hn::LoadU(D(), head + pair);
      second = hn::LoadU(D(), head + pair + count);
    }
  }
  HWY_INLINE void store(Index pair, V first, V second) const {
    if constexpr (kPairs == ops::RopePairs::Neighbours) {
      hn::StoreInterleaved2(first, second, D(), head + 2 * pair);
    } else {
      hn::StoreU(first, D(), head + pair);
      hn::StoreU(second, D(), head + pair + count);
    }
  }
};

template <ops::RopePairs kPairs>
void rotate_row(const ops::RopeArgs<float>& args, Index row) {
  const Index pairs = args.cos_sin.columns / 2;
  const float direction = args.is_inverse ? -1.0F : 1.0F;
  const float* cosine = args.cos_sin.row(row);
  const float* sine = cosine + pairs;
  for (Index end = args.head_dim; end <= args.x.columns; end += args.head_dim) {
    const PairsOf<kPairs> numbers{args.x.row(row) + end - 2 * pairs, pairs};
    Index pair = 0;
#if HWY_TARGET != HWY_SCALAR
    const V sign = hn::Set(D(), direction);
    for (; pair + kWidth <= pairs; pair += kWidth) {
      V first;
      V second;
      numbers.load(pair, first, second);
      const V turn = hn::Mul(sign, hn::LoadU(D(), sine + pair));
      const V keep = hn::LoadU(D(), cosine + pair);
      // Products are rounded before the sum, as the official code has it: no fused multiply-add.
      const V left = hn::Sub(hn::Mul(first, keep), hn::Mul(second, turn));
      const V right = hn::Add(hn::Mul(first, turn), hn::Mul(second, keep));
      numbers.store(pair, rounded(left, args.rounding), rounded(right, args.rounding));
    }
#endif
    for (; pair < pairs; ++pair) {
      const float first = numbers.first(pair);
      const float second = numbers.second(pair);
      const float turn = direction * sine[pair];
      numbers.first(pair) = ops::rounded(first * cosine[pair] - second * turn, args.rounding);
      numbers.second(pair) = ops::rounded(first * turn + second * cosine[pair], args.rounding);
    }
  }
}

}  // namespace

void rope(const ops::RopeArgs<float>& args, platform::ThreadPool& pool) {
  pool.parallel_for(args.x.rows, [&](Index row, int /*thread*/) {
    if (args.pairs == ops::RopePairs::Neighbours) {
      rotate_row<ops::RopePairs::Neighbours>(args, row);
    } else {
      rotate_row<ops::RopePairs::Halves>(args, row);
    }
  });
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(rms_norm);
HWY_EXPORT(head_norm);
HWY_EXPORT(swiglu);
HWY_EXPORT(scale);
HWY_EXPORT(position_bias);
HWY_EXPORT(combine_experts);
HWY_EXPORT(hyper_collapse);
HWY_EXPORT(hyper_merge);
HWY_EXPORT(add_to_streams);
HWY_EXPORT(rope);

namespace {

// Small or branchy ops: scalar rows, shared out among the threads.

void embed(const ops::EmbedArgs<float>& args, platform::ThreadPool& pool) noexcept {
  pool.parallel_for(args.out.rows, [&](Index row, int /*thread*/) {
    numeric::decode_row(args.table, args.tokens[to_size(row)], 0, args.table.columns,
                        args.out.row(row));
  });
}

void rope_table(const ops::RopeTableArgs<float>& args, platform::ThreadPool& pool) noexcept {
  pool.parallel_for(args.cos_sin.rows,
                    [&](Index row, int /*thread*/) { ops::rope_table_row(args, row); });
}

void route(const ops::RouteArgs<float>& args, platform::ThreadPool& pool) noexcept {
  pool.parallel_for(args.ids.rows,
                    [&](Index token, int /*thread*/) { ops::route_row(args, token); });
}

void hadamard(const ops::HadamardArgs<float>& args, platform::ThreadPool& pool) noexcept {
  pool.parallel_for(args.x.rows, [&](Index row, int /*thread*/) {
    ops::hadamard_row(args.x.row(row), args.x.columns, args.rounding);
  });
}

}  // namespace

void fill_rows(ops::KernelTable<float>& table, const Isa& isa) {
  table.rms_norm = {select(HWY_DISPATCH_TABLE(rms_norm), isa), isa.name};
  table.head_norm = {select(HWY_DISPATCH_TABLE(head_norm), isa), isa.name};
  table.swiglu = {select(HWY_DISPATCH_TABLE(swiglu), isa), isa.name};
  table.scale = {select(HWY_DISPATCH_TABLE(scale), isa), isa.name};
  table.position_bias = {select(HWY_DISPATCH_TABLE(position_bias), isa), isa.name};
  table.combine_experts = {select(HWY_DISPATCH_TABLE(combine_experts), isa), isa.name};
  table.hyper_collapse = {select(HWY_DISPATCH_TABLE(hyper_collapse), isa), isa.name};
  table.hyper_merge = {select(HWY_DISPATCH_TABLE(hyper_merge), isa), isa.name};
  table.add_to_streams = {select(HWY_DISPATCH_TABLE(add_to_streams), isa), isa.name};
  table.rope = {select(HWY_DISPATCH_TABLE(rope), isa), isa.name};
  table.embed = {&embed, isa.name};
  table.rope_table = {&rope_table, isa.name};
  table.route = {&route, isa.name};
  table.hadamard = {&hadamard, isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
