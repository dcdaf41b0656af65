// Backward halves of what works on rows one by one: norms, activations, residual streams.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/rows_backward.cc"
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

// Rows that a tile computes where rows share nothing.
constexpr Index kRowsPerTile = 8;

// body(row) for all rows.
template <typename Body>
void for_rows(platform::ThreadPool& pool, Index rows, const Body& body) {
  pool.parallel_for(ceil_div(rows, kRowsPerTile), [&](Index tile, int /*thread*/) {
    const Index end = std::min((tile + 1) * kRowsPerTile, rows);
    for (Index row = tile * kRowsPerTile; row < end; ++row) {
      body(row);
    }
  });
}

// to[i] += from[i].
HWY_INLINE void add_row(const float* from, Index count, float* to) {
  map_row(count, to, [&](const auto& load) { return hn::Add(load(to), load(from)); });
}

// to[i] += factor * from[i].
HWY_INLINE void add_multiple(float factor, const float* from, Index count, float* to) {
  const V each = hn::Set(D(), factor);
  map_row(count, to, [&](const auto& load) { return hn::MulAdd(each, load(from), load(to)); });
}

// What a norm's gradient is made of: of x[i] from g[i], the gradient of x[i] * factor, it is
// factor g[i] - shared x[i].
struct NormGradient {
  V factor;
  V shared;  // factor^3 mean(g x)
};

NormGradient norm_gradient(float mean_square, float mean_product, double epsilon) {
  const float factor = 1.0F / std::sqrt(mean_square + static_cast<float>(epsilon));
  return {hn::Set(D(), factor), hn::Set(D(), factor * factor * factor * mean_product)};
}

// One row; adds to `sums` unless it is null.
void rms_norm_row(const ops::RmsNormBackwardArgs<float>& args, Index row, float* sums) {
  const Index width = args.x.columns;
  const float* x = args.x.row(row);
  const float* d_out = args.d_out.row(row);
  const float* weight = args.weight.data();
  LaneSet squares = zero_lanes();
  LaneSet products = zero_lanes();
  const auto add = [&](const LaneSet& numbers, const LaneSet& weights, const LaneSet& gradients) {
    for (Index i = 0; i < kRegisters; ++i) {
      squares.v[i] = hn::MulAdd(numbers.v[i], numbers.v[i], squares.v[i]);
      products.v[i] =
          hn::MulAdd(hn::Mul(weights.v[i], gradients.v[i]), numbers.v[i], products.v[i]);
    }
  };
  Index k = 0;
  for (; k + kLanes <= width; k += kLanes) {
    add(load_lanes(x + k), load_lanes(weight + k), load_lanes(d_out + k));
  }
  if (k < width) {
    add(load_tail(x + k, width - k), load_tail(weight + k, width - k),
        load_tail(d_out + k, width - k));
  }
  const auto count = static_cast<float>(width);
  const NormGradient gradient =
      norm_gradient(sum_lanes(squares) / count, sum_lanes(products) / count, args.epsilon);
  float* d_x = args.d_x.row(row);
  map_row(width, d_x, [&](const auto& load) {
    const V scaled = hn::Mul(load(weight), load(d_out));
    return hn::Add(load(d_x),
                   hn::NegMulAdd(gradient.shared, load(x), hn::Mul(gradient.factor, scaled)));
  });
  if (sums != nullptr) {
    map_row(width, sums, [&](const auto& load) {
      return hn::MulAdd(load(d_out), hn::Mul(load(x), gradient.factor), load(sums));
    });
  }
}

}  // namespace

void rms_norm_backward(const ops::RmsNormBackwardArgs<float>& args, platform::ThreadPool& pool) {
  using Args = ops::RmsNormBackwardArgs<float>;
  const Index width = args.x.columns;
  const Index num_tiles = Args::num_tiles(args.x.rows);
  pool.parallel_for(num_tiles, [&](Index tile, int /*thread*/) {
    float* sums = args.d_weight == nullptr ? nullptr : args.sums.row(tile);
    if (sums != nullptr) {
      std::fill_n(sums, width, 0.0F);
    }
    const Index end = std::min((tile + 1) * Args::kRowsPerTile, args.x.rows);
    for (Index row = tile * Args::kRowsPerTile; row < end; ++row) {
      rms_norm_row(args, row, sums);
    }
  });
  if (args.d_weight != nullptr) {
    for (Index tile = 0; tile < num_tiles; ++tile) {
      add_row(args.sums.row(tile), width, args.d_weight);
    }
  }
}

void head_norm_backward(const ops::HeadNormBackwardArgs<float>& args, platform::ThreadPool& pool) {
  const Index width = args.x.columns;
  for_rows(pool, args.x.rows, [&](Index row) {
    const float* x = args.x.row(row);
    float* d_x = args.d_x.row(row);
    const auto count = static_cast<float>(width);
    const NormGradient gradient =
        norm_gradient(dot(x, x, width) / count, dot(d_x, x, width) / count, args.epsilon);
    map_row(width, d_x, [&](const auto& load) {
      return hn::NegMulAdd(gradient.shared, load(x), hn::Mul(gradient.factor, load(d_x)));
    });
  });
}

namespace {

// A register of one row's gates and ups: their gradients, and what they add to that of the weight.
struct SwigluGradient {
  V gate;
  V up;
  V weight;
};

HWY_INLINE SwigluGradient swiglu_gradient(V gate, V up, V d_out, V weight, V limit) {
  const V one = hn::Set(D(), 1.0F);
  const V zero = hn::Zero(D());
  // Not Min and Max: a NaN stays one.
  const V lowest = hn::Neg(limit);
  const V low_gate = hn::IfThenElse(hn::Gt(gate, limit), limit, gate);
  const V high_up = hn::IfThenElse(hn::Lt(up, lowest), lowest, up);
  const V low_up = hn::IfThenElse(hn::Gt(up, limit), limit, high_up);
  const V share = sigmoid(low_gate);
  const V activated = hn::Mul(low_gate, share);
  const V slope = hn::Mul(share, hn::MulAdd(low_gate, hn::Sub(one, share), one));  // of silu
  const V weighted = hn::Mul(d_out, weight);
  return {hn::IfThenElse(hn::Le(gate, limit), hn::Mul(hn::Mul(weighted, slope), low_up), zero),
          hn::IfThenElse(hn::Le(hn::Abs(up), limit), hn::Mul(weighted, activated), zero),
          hn::Mul(hn::Mul(d_out, activated), low_up)};
}

}  // namespace

void swiglu_backward(const ops::SwigluBackwardArgs<float>& args, platform::ThreadPool& pool) {
  const V limit = hn::Set(D(), static_cast<float>(args.limit));
  const Index width = args.gate.columns;
  for_rows(pool, args.gate.rows, [&](Index row) {
    const V weight = hn::Set(D(), args.weight == nullptr ? 1.0F : args.weight[row]);
    const float* gates = args.gate.row(row);
    const float* ups = args.up.row(row);
    float* d_gates = args.d_gate.row(row);
    float* d_ups = args.d_up.row(row);
    V sum = hn::Zero(D());
    Index i = 0;
    for (; i + kWidth <= width; i += kWidth) {
      const SwigluGradient gradient =
          swiglu_gradient(hn::LoadU(D(), gates + i), hn::LoadU(D(), ups + i),
                          hn::LoadU(D(), d_gates + i), weight, limit);
      sum = hn::Add(sum, gradient.weight);
      hn::StoreU(gradient.gate, D(), d_gates + i);
      hn::StoreU(hn::Add(hn::LoadU(D(), d_ups + i), gradient.up), D(), d_ups + i);
    }
    if (i < width) {
      const Index rest = width - i;
      const SwigluGradient gradient =
          swiglu_gradient(load_tail(gates + i, rest).v[0], load_tail(ups + i, rest).v[0],
                          load_tail(d_gates + i, rest).v[0], weight, limit);
      sum = hn::Add(sum, gradient.weight);
      HWY_ALIGN float found[kLanes] = {};
      hn::Store(gradient.gate, D(), found);
      std::copy_n(found, rest, d_gates + i);
      hn::Store(gradient.up, D(), found);
      add_row(found, rest, d_ups + i);
    }
    if (args.d_weight != nullptr) {
      args.d_weight[row] += hn::GetLane(hn::SumOfLanes(D(), sum));
    }
  });
}

void position_bias_backward(const ops::PositionBiasBackwardArgs<float>& args,
                            platform::ThreadPool& pool) {
  constexpr Index kColumnsPerTile = 64;  // a tile's columns are summed over all rows
  const Index width = args.d_bias.columns;
  pool.parallel_for(ceil_div(width, kColumnsPerTile), [&](Index tile, int /*thread*/) {
    const Index first = tile * kColumnsPerTile;
    const Index count = std::min(kColumnsPerTile, width - first);
    for (Index row = 0; row < args.d_rows.rows; ++row) {
      const Index place = args.positions[to_size(row)] % args.block_tokens;
      add_row(args.d_rows.row(row) + width + first, count, args.d_bias.row(place) + first);
    }
  });
}

void combine_experts_backward(const ops::CombineExpertsBackwardArgs<float>& args,
                              platform::ThreadPool& pool) {
  const Index width = args.d_out.columns;
  for_rows(pool, args.d_out.rows, [&](Index token) {
    const float* d_out = args.d_out.row(token);
    add_row(d_out, width, args.d_shared.row(token));
    for (Index chosen = 0; chosen < args.slot_of.columns; ++chosen) {
      add_row(d_out, width, args.d_slots.row(args.slot_of.row(token)[chosen]));
    }
  });
}

void hyper_collapse_backward(const ops::HyperCollapseBackwardArgs<float>& args,
                             platform::ThreadPool& pool) {
  const Index width = args.d_out.columns;
  for_rows(pool, args.d_out.rows, [&](Index token) {
    const float* d_out = args.d_out.row(token);
    const float* weights = args.weights.row(token);
    for (Index j = 0; j < args.weights.columns; ++j) {
      add_multiple(weights[j], d_out, width, args.d_streams.row(token) + j * width);
      args.d_weights.row(token)[j] += dot(args.streams.row(token) + j * width, d_out, width);
    }
  });
}

namespace {

// d_post and d_comb of one token: products of the gradient of every merged stream with y and with
// every old stream. `sums` of a register of columns stay in registers.
template <Index kStreams>
void merge_products(const ops::HyperMergeBackwardArgs<float>& args, Index token) {
  const Index width = args.y.columns;
  const float* y = args.y.row(token);
  const float* streams = args.streams.row(token);
  const float* d_merged = args.d_streams.row(token);
  V post[to_size(kStreams)];
  V comb[to_size(kStreams)][to_size(kStreams)];
  for (Index k = 0; k < kStreams; ++k) {
    post[k] = hn::Zero(D());
    for (Index j = 0; j < kStreams; ++j) {
      comb[j][k] = hn::Zero(D());
    }
  }
  for (Index i = 0; i < width; i += kWidth) {
    V gradient[to_size(kStreams)];
    for (Index k = 0; k < kStreams; ++k) {
      gradient[k] = hn::LoadU(D(), d_merged + k * width + i);
      post[k] = hn::MulAdd(hn::LoadU(D(), y + i), gradient[k], post[k]);
    }
    for (Index j = 0; j < kStreams; ++j) {
      const V stream = hn::LoadU(D(), streams + j * width + i);
      for (Index k = 0; k < kStreams; ++k) {
        comb[j][k] = hn::MulAdd(stream, gradient[k], comb[j][k]);
      }
    }
  }
  for (Index k = 0; k < kStreams; ++k) {
    args.d_post.row(token)[k] += hn::GetLane(hn::SumOfLanes(D(), post[k]));
    for (Index j = 0; j < kStreams; ++j) {
      args.d_comb.row(token)[j * kStreams + k] += hn::GetLane(hn::SumOfLanes(D(), comb[j][k]));
    }
  }
}

// d_y and, in place, d_streams of one token.
template <Index kStreams>
void merge_gradients(const ops::HyperMergeBackwardArgs<float>& args, Index token) {
  const Index width = args.y.columns;
  float* d_y = args.d_y.row(token);
  float* d_streams = args.d_streams.row(token);
  V post[to_size(kStreams)];
  V comb[to_size(kStreams)][to_size(kStreams)];
  for (Index k = 0; k < kStreams; ++k) {
    post[k] = hn::Set(D(), args.post.row(token)[k]);
    for (Index j = 0; j < kStreams; ++j) {
      comb[j][k] = hn::Set(D(), args.comb.row(token)[j * kStreams + k]);
    }
  }
  for (Index i = 0; i < width; i += kWidth) {
    V merged[to_size(kStreams)];
    V sum = hn::LoadU(D(), d_y + i);
    for (Index k = 0; k < kStreams; ++k) {
      merged[k] = hn::LoadU(D(), d_streams + k * width + i);
      sum = hn::MulAdd(post[k], merged[k], sum);
    }
    hn::StoreU(sum, D(), d_y + i);
    for (Index j = 0; j < kStreams; ++j) {
      V stream = hn::Mul(comb[j][0], merged[0]);
      for (Index k = 1; k < kStreams; ++k) {
        stream = hn::MulAdd(comb[j][k], merged[k], stream);
      }
      hn::StoreU(stream, D(), d_streams + j * width + i);
    }
  }
}

// Any number of streams and columns.
void merge_any_backward(const ops::HyperMergeBackwardArgs<float>& args, Index token) {
  constexpr Index kMaxStreams = ops::HyperMergeArgs<float>::kMaxStreams;
  const Index n = args.post.columns;
  const Index width = args.y.columns;
  const float* comb = args.comb.row(token);
  const float* streams = args.streams.row(token);
  float* d_streams = args.d_streams.row(token);
  for (Index k = 0; k < n; ++k) {
    const float* d_merged = d_streams + k * width;
    args.d_post.row(token)[k] += dot(args.y.row(token), d_merged, width);
    for (Index j = 0; j < n; ++j) {
      args.d_comb.row(token)[j * n + k] += dot(streams + j * width, d_merged, width);
    }
    add_multiple(args.post.row(token)[k], d_merged, width, args.d_y.row(token));
  }
  for (Index i = 0; i < width; i += kWidth) {
    const Index part = std::min(kWidth, width - i);
    HWY_ALIGN float results[kMaxStreams][kLanes];
    for (Index j = 0; j < n; ++j) {
      map_row(part, results[j], [&](const auto& load) {
        V sum = hn::Zero(D());
        for (Index k = 0; k < n; ++k) {
          sum = hn::MulAdd(hn::Set(D(), comb[j * n + k]), load(d_streams + k * width + i), sum);
        }
        return sum;
      });
    }
    for (Index j = 0; j < n; ++j) {
      std::copy_n(results[j], part, d_streams + j * width + i);
    }
  }
}

}  // namespace

void hyper_merge_backward(const ops::HyperMergeBackwardArgs<float>& args,
                          platform::ThreadPool& pool) {
  for_rows(pool, args.y.rows, [&](Index token) {
    if (args.post.columns == 4 && args.y.columns % kWidth == 0) {
      merge_products<4>(args, token);
      merge_gradients<4>(args, token);
    } else {
      merge_any_backward(args, token);
    }
  });
}

void add_to_streams_backward(const ops::AddToStreamsBackwardArgs<float>& args,
                             platform::ThreadPool& pool) {
  const Index num_streams = args.d_each.rows / std::max<Index>(args.d_shared.rows, 1);
  for_rows(pool, args.d_shared.rows, [&](Index token) {
    for (Index j = 0; j < num_streams; ++j) {
      add_row(args.d_each.row(token * num_streams + j), args.d_each.columns,
              args.d_shared.row(token));
    }
  });
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(rms_norm_backward);
HWY_EXPORT(head_norm_backward);
HWY_EXPORT(swiglu_backward);
HWY_EXPORT(position_bias_backward);
HWY_EXPORT(combine_experts_backward);
HWY_EXPORT(hyper_collapse_backward);
HWY_EXPORT(hyper_merge_backward);
HWY_EXPORT(add_to_streams_backward);

namespace {

void route_backward(const ops::RouteBackwardArgs<float>& args,
                    platform::ThreadPool& pool) noexcept {
  pool.parallel_for(args.ids.rows,
                    [&](Index token, int /*thread*/) { ops::route_backward_row(args, token); });
}

}  // namespace

void fill_rows_backward(ops::TrainingKernels<float>& table, const Isa& isa) {
  table.rms_norm_backward = {select(HWY_DISPATCH_TABLE(rms_norm_backward), isa), isa.name};
  table.head_norm_backward = {select(HWY_DISPATCH_TABLE(head_norm_backward), isa), isa.name};
  table.swiglu_backward = {select(HWY_DISPATCH_TABLE(swiglu_backward), isa), isa.name};
  table.position_bias_backward = {select(HWY_DISPATCH_TABLE(position_bias_backward), isa),
                                  isa.name};
  table.combine_experts_backward = {select(HWY_DISPATCH_TABLE(combine_experts_backward), isa),
                                    isa.name};
  table.hyper_collapse_backward = {select(HWY_DISPATCH_TABLE(hyper_collapse_backward), isa),
                                   isa.name};
  table.hyper_merge_backward = {select(HWY_DISPATCH_TABLE(hyper_merge_backward), isa), isa.name};
  table.add_to_streams_backward = {select(HWY_DISPATCH_TABLE(add_to_streams_backward), isa),
                                   isa.name};
  table.route_backward = {&route_backward, isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
