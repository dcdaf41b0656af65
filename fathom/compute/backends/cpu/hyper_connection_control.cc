// The control numbers of hyper-connections and their gradient: tokens side by side in lanes, so
// that a register holds one number of the mixing matrix of many tokens through all iterations.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/hyper_connection_control.cc"
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

using BackwardArgs = ops::HyperControlBackwardArgs<float>;

constexpr Index kMostStreams = ops::HyperMergeArgs<float>::kMaxStreams;
constexpr Index kMostProducts = kMostStreams * (2 + kMostStreams);
static_assert(BackwardArgs::kTokensPerTile == kLanes);

// Tokens of one tile.
struct Tile {
  Index first;
  Index count;
};

Tile tile_of(Index idx, Index num_tokens) {
  return {idx * kLanes, std::min(kLanes, num_tokens - idx * kLanes)};
}

// Every row, or every column, of the matrices divided by its sum plus epsilon, with the roundings
// of ops::divide_by_sums.
template <Index kStreams>
HWY_INLINE void divide_by_sums(V* comb, V epsilon, bool is_by_rows) {
  const Index outer_stride = is_by_rows ? kStreams : 1;
  const Index inner_stride = is_by_rows ? 1 : kStreams;
  for (Index outer = 0; outer < kStreams; ++outer) {
    V sum = hn::Zero(D());
    for (Index inner = 0; inner < kStreams; ++inner) {
      sum = hn::Add(sum, comb[outer * outer_stride + inner * inner_stride]);
    }
    sum = hn::Add(sum, epsilon);
    for (Index inner = 0; inner < kStreams; ++inner) {
      V& each = comb[outer * outer_stride + inner * inner_stride];
      each = hn::Div(each, sum);
    }
  }
}

// ops::sinkhorn behind its softmax, for the tokens of a tile.
template <Index kStreams>
void iterate_tile(const ops::HyperControlArgs<float>& args, const Tile& tile) {
  constexpr Index kSize = kStreams * kStreams;
  const V epsilon = hn::Set(D(), static_cast<float>(args.epsilon));
  HWY_ALIGN float lanes[to_size(kSize * kLanes)];
  std::fill_n(lanes, kSize * kLanes, 1.0F);
  for (Index token = 0; token < tile.count; ++token) {
    const float* row = args.comb.row(tile.first + token);
    for (Index idx = 0; idx < kSize; ++idx) {
      lanes[idx * kLanes + token] = row[idx];
    }
  }
  for (Index part = 0; part < kLanes; part += kWidth) {
    V comb[to_size(kSize)];
    for (Index idx = 0; idx < kSize; ++idx) {
      comb[idx] = hn::Load(D(), lanes + idx * kLanes + part);
    }
    divide_by_sums<kStreams>(comb, epsilon, false);
    for (Index iteration = 1; iteration < args.iterations; ++iteration) {
      divide_by_sums<kStreams>(comb, epsilon, true);
      divide_by_sums<kStreams>(comb, epsilon, false);
    }
    for (Index idx = 0; idx < kSize; ++idx) {
      hn::Store(comb[idx], D(), lanes + idx * kLanes + part);
    }
  }
  for (Index token = 0; token < tile.count; ++token) {
    float* row = args.comb.row(tile.first + token);
    for (Index idx = 0; idx < kSize; ++idx) {
      row[idx] = lanes[idx * kLanes + token];
    }
  }
}

}  // namespace

void hyper_control(const ops::HyperControlArgs<float>& args, platform::ThreadPool& pool) {
  constexpr Index kFewTokens = 4;  // fewer are iterated sooner one by one
  const Index width = args.streams.columns;
  const Index num_tokens = args.streams.rows;
  const bool is_in_lanes =
      args.comb.data != nullptr && args.pre.columns == 4 && num_tokens >= kFewTokens;
  const auto mean_square = [&](Index token) {
    const float* streams = args.streams.row(token);
    return dot(streams, streams, width) / static_cast<float>(width);
  };
  if (!is_in_lanes) {
    pool.parallel_for(num_tokens, [&](Index token, int /*thread*/) {
      ops::hyper_control_row(args, token, mean_square(token));
    });
    return;
  }
  pool.parallel_for(ceil_div(num_tokens, kLanes), [&](Index idx, int /*thread*/) {
    const Tile tile = tile_of(idx, num_tokens);
    for (Index token = tile.first; token < tile.first + tile.count; ++token) {
      ops::hyper_mix_row(args, token, mean_square(token));
      ops::softmax_rows(args.comb.row(token), args.pre.columns, static_cast<float>(args.epsilon));
    }
    iterate_tile<4>(args, tile);
  });
}

namespace {

// The iterations of a register of tokens and the way back. kStreams is the number of streams, or 0
// for any. What is behind step s, matrix and reciprocal divisors, lies at `steps` + s * stride().
template <Index kStreams>
class Iterations {
 public:
  Iterations(Index num_streams, float epsilon, Index iterations, float* steps)
      : num_streams_(num_streams),
        num_steps_(2 * iterations),
        epsilon_(hn::Set(D(), epsilon)),
        steps_(steps) {}

  // From the matrix that goes in and the gradient of what comes out to that of what goes in.
  void run(V* comb, V* gradient) const {
    soften(comb);
    store(comb, 0);
    for (Index step = 1; step < num_steps_; ++step) {
      divide(comb, step);
      store(comb, step);
    }
    for (Index step = num_steps_ - 1; step > 0; --step) {
      divide_backward(step, gradient);
    }
    soften_backward(gradient);
  }

 private:
  HWY_INLINE Index n() const { return kStreams == 0 ? num_streams_ : kStreams; }
  HWY_INLINE float* step_at(Index step) const { return steps_ + step * n() * (n() + 1) * kLanes; }
  HWY_INLINE float* divisors_at(Index step) const { return step_at(step) + n() * n() * kLanes; }
  // Number `inner` of row or column `outer`; even steps are by rows.
  HWY_INLINE Index at(Index step, Index outer, Index inner) const {
    return step % 2 == 0 ? outer * n() + inner : inner * n() + outer;
  }

  HWY_INLINE void store(const V* comb, Index step) const {
    for (Index idx = 0; idx < n() * n(); ++idx) {
      hn::StoreU(comb[idx], D(), step_at(step) + idx * kLanes);
    }
  }

  HWY_INLINE void soften(V* comb) const {
    for (Index j = 0; j < n(); ++j) {
      V* row = comb + j * n();
      V largest = row[0];
      for (Index k = 1; k < n(); ++k) {
        largest = hn::Max(largest, row[k]);
      }
      V sum = hn::Zero(D());
      for (Index k = 0; k < n(); ++k) {
        row[k] = exp_of(hn::Sub(row[k], largest));
        sum = hn::Add(sum, row[k]);
      }
      for (Index k = 0; k < n(); ++k) {
        row[k] = hn::Add(hn::Div(row[k], sum), epsilon_);
      }
    }
  }

  HWY_INLINE void divide(V* comb, Index step) const {
    for (Index outer = 0; outer < n(); ++outer) {
      V sum = epsilon_;
      for (Index inner = 0; inner < n(); ++inner) {
        sum = hn::Add(sum, comb[at(step, outer, inner)]);
      }
      const V divisor = hn::Div(hn::Set(D(), 1.0F), sum);
      hn::StoreU(divisor, D(), divisors_at(step) + outer * kLanes);
      for (Index inner = 0; inner < n(); ++inner) {
        V& each = comb[at(step, outer, inner)];
        each = hn::Mul(each, divisor);
      }
    }
  }

  // y[i] = x[i] / (sum_j x[j] + epsilon): d_x[i] = (d_y[i] - sum_j d_y[j] y[j]) / (sum + epsilon).
  HWY_INLINE void divide_backward(Index step, V* gradient) const {
    for (Index outer = 0; outer < n(); ++outer) {
      V weighted = hn::Zero(D());
      for (Index inner = 0; inner < n(); ++inner) {
        const Index idx = at(step, outer, inner);
        weighted =
            hn::MulAdd(gradient[idx], hn::LoadU(D(), step_at(step) + idx * kLanes), weighted);
      }
      const V divisor = hn::LoadU(D(), divisors_at(step) + outer * kLanes);
      for (Index inner = 0; inner < n(); ++inner) {
        V& each = gradient[at(step, outer, inner)];
        each = hn::Mul(hn::Sub(each, weighted), divisor);
      }
    }
  }

  HWY_INLINE void soften_backward(V* gradient) const {
    for (Index j = 0; j < n(); ++j) {
      V* row = gradient + j * n();
      const float* softened = step_at(0) + j * n() * kLanes;
      const auto share = [&](Index k) {
        return hn::Sub(hn::LoadU(D(), softened + k * kLanes), epsilon_);
      };
      V weighted = hn::Zero(D());
      for (Index k = 0; k < n(); ++k) {
        weighted = hn::MulAdd(row[k], share(k), weighted);
      }
      for (Index k = 0; k < n(); ++k) {
        row[k] = hn::Mul(share(k), hn::Sub(row[k], weighted));
      }
    }
  }

  Index num_streams_;
  Index num_steps_;
  V epsilon_;
  float* steps_;
};

// Numbers of a tile's tokens, tokens in lanes; zeros in lanes without a token.
struct TileLanes {
  HWY_ALIGN float products[to_size(kMostProducts)][to_size(kLanes)];
  HWY_ALIGN float d_mixed[to_size(kMostProducts)][to_size(kLanes)];  // before scale and base
  HWY_ALIGN float factors[to_size(kLanes)];
  HWY_ALIGN float d_factors[to_size(kLanes)];
  HWY_ALIGN float d_scales[3][to_size(kLanes)];
};

Index scale_of(Index idx, Index n) {
  return idx < n ? 0 : idx < 2 * n ? 1 : 2;
}

// Products, factors and, as d_mixed, the gradients of pre, post and comb.
void load_tile(const BackwardArgs& args, const Tile& tile, TileLanes& lanes) {
  const Index n = args.d_pre.columns;
  const Index count = args.products.columns;
  const Index width = args.streams.columns;
  if (tile.count < kLanes) {
    lanes = {};
  }
  for (Index idx = 0; idx < tile.count; ++idx) {
    const Index token = tile.first + idx;
    const float* streams = args.streams.row(token);
    const float mean_square = dot(streams, streams, width) / static_cast<float>(width);
    lanes.factors[idx] = 1.0F / std::sqrt(mean_square + static_cast<float>(args.norm_epsilon));
    for (Index i = 0; i < count; ++i) {
      lanes.products[i][idx] = args.products.row(token)[i];
    }
    for (Index i = 0; i < n; ++i) {
      lanes.d_mixed[i][idx] = args.d_pre.row(token)[i];
    }
    for (Index i = 0; args.d_post.data != nullptr && i < n; ++i) {
      lanes.d_mixed[n + i][idx] = args.d_post.row(token)[i];
    }
    for (Index i = 0; args.d_post.data != nullptr && i < n * n; ++i) {
      lanes.d_mixed[2 * n + i][idx] = args.d_comb.row(token)[i];
    }
  }
}

// From the gradients of pre, post and comb to d_mixed, d_factors and d_scales, for the register of
// lanes from `part`; `num_lanes` of the tile have tokens.
template <Index kStreams>
void mix_backward(
    const BackwardArgs& args, Index part, Index num_lanes, float* scratch, TileLanes& lanes) {
  constexpr Index kMost = kStreams == 0 ? kMostStreams : kStreams;
  const Index n = args.d_pre.columns;
  const V one = hn::Set(D(), 1.0F);
  const V factor = hn::Load(D(), lanes.factors + part);
  const auto scale = [&](Index idx) { return hn::Set(D(), args.scale[to_size(scale_of(idx, n))]); };
  const auto mixed = [&](Index idx) {
    return hn::MulAdd(hn::Mul(hn::Load(D(), lanes.products[idx] + part), factor), scale(idx),
                      hn::Set(D(), args.base[to_size(idx)]));
  };
  const auto add_slope = [&](Index idx, V twice) {
    const V exponent = mixed(idx);
    const V share = hn::IfThenElse(hn::IsNaN(exponent), exponent, sigmoid(exponent));
    const V slope = hn::Mul(hn::Mul(share, hn::Sub(one, share)), twice);
    float* d_mixed = lanes.d_mixed[idx] + part;
    hn::Store(hn::Mul(hn::Load(D(), d_mixed), slope), D(), d_mixed);
  };
  for (Index j = 0; j < n; ++j) {
    add_slope(j, one);
  }
  if (args.d_post.data != nullptr) {
    for (Index j = 0; j < n; ++j) {
      add_slope(n + j, hn::Set(D(), 2.0F));
    }
    V comb[to_size(kMost * kMost)];
    V gradient[to_size(kMost * kMost)];
    for (Index idx = 0; idx < n * n; ++idx) {
      comb[idx] = mixed(2 * n + idx);
      gradient[idx] = hn::Load(D(), lanes.d_mixed[2 * n + idx] + part);
    }
    Iterations<kStreams>(n, static_cast<float>(args.epsilon), args.iterations, scratch + part)
        .run(comb, gradient);
    for (Index idx = 0; idx < n * n; ++idx) {
      hn::Store(gradient[idx], D(), lanes.d_mixed[2 * n + idx] + part);
    }
  }
  V d_factor = hn::Zero(D());
  V d_scales[3] = {d_factor, d_factor, d_factor};
  const auto has_token = hn::FirstN(D(), to_size(std::max<Index>(0, num_lanes - part)));
  for (Index idx = 0; idx < args.products.columns; ++idx) {
    const V d_mixed = hn::IfThenElseZero(has_token, hn::Load(D(), lanes.d_mixed[idx] + part));
    hn::Store(d_mixed, D(), lanes.d_mixed[idx] + part);
    const V product = hn::Mul(d_mixed, hn::Load(D(), lanes.products[idx] + part));
    d_factor = hn::MulAdd(product, scale(idx), d_factor);
    V& d_scale = d_scales[scale_of(idx, n)];
    d_scale = hn::MulAdd(product, factor, d_scale);
  }
  hn::Store(d_factor, D(), lanes.d_factors + part);
  for (Index idx = 0; idx < 3; ++idx) {
    hn::Store(d_scales[idx], D(), lanes.d_scales[idx] + part);
  }
}

// What the tile adds to the gradients of its tokens' products and streams.
void add_tile(const BackwardArgs& args, const Tile& tile, const TileLanes& lanes) {
  const Index n = args.d_pre.columns;
  const Index width = args.streams.columns;
  for (Index idx = 0; idx < tile.count; ++idx) {
    const Index token = tile.first + idx;
    const float factor = lanes.factors[idx];
    float* d_products = args.d_products.row(token);
    for (Index i = 0; i < args.products.columns; ++i) {
      d_products[i] += lanes.d_mixed[i][idx] * factor * args.scale[to_size(scale_of(i, n))];
    }
    // factor = (mean square + epsilon)^-1/2
    const V d_square =
        hn::Set(D(), -factor * factor * factor * lanes.d_factors[idx] / static_cast<float>(width));
    const float* streams = args.streams.row(token);
    float* d_streams = args.d_streams.row(token);
    map_row(width, d_streams,
            [&](const auto& load) { return hn::MulAdd(d_square, load(streams), load(d_streams)); });
  }
}

float sum_of(const float* lanes) {
  return sum_lanes(load_lanes(lanes));
}

}  // namespace

void hyper_control_backward(const BackwardArgs& args, platform::ThreadPool& pool) {
  const Index num_products = args.products.columns;
  const Index num_scales = to_index(args.scale.size());
  const Index num_tiles = BackwardArgs::num_tiles(args.products.rows);
  pool.parallel_for(num_tiles, [&](Index idx, int thread_idx) {
    const Tile tile = tile_of(idx, args.products.rows);
    TileLanes lanes;
    load_tile(args, tile, lanes);
    float* scratch = args.scratch.row(thread_idx);
    for (Index part = 0; part < kLanes; part += kWidth) {
      if (args.d_pre.columns == 4) {
        mix_backward<4>(args, part, tile.count, scratch, lanes);
      } else {
        mix_backward<0>(args, part, tile.count, scratch, lanes);
      }
    }
    add_tile(args, tile, lanes);
    float* sums = args.sums.row(idx);
    for (Index i = 0; i < num_products; ++i) {
      sums[i] = sum_of(lanes.d_mixed[i]);
    }
    for (Index i = 0; i < num_scales; ++i) {
      sums[num_products + i] = sum_of(lanes.d_scales[i]);
    }
  });
  for (Index tile = 0; tile < num_tiles; ++tile) {
    const float* sums = args.sums.row(tile);
    for (Index i = 0; args.d_base != nullptr && i < num_products; ++i) {
      args.d_base[i] += sums[i];
    }
    for (Index i = 0; args.d_scale != nullptr && i < num_scales; ++i) {
      args.d_scale[i] += sums[num_products + i];
    }
  }
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(hyper_control);
HWY_EXPORT(hyper_control_backward);

void fill_hyper_control(ops::KernelTable<float>& table, const Isa& isa) {
  table.hyper_control = {select(HWY_DISPATCH_TABLE(hyper_control), isa), isa.name};
}

void fill_hyper_control_backward(ops::TrainingKernels<float>& table, const Isa& isa) {
  table.hyper_control_backward = {select(HWY_DISPATCH_TABLE(hyper_control_backward), isa),
                                  isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
