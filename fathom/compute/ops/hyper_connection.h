// Manifold-constrained hyper-connections (mHC): mixing N residual streams (specification 3.2).
#pragma once

#include <span>

#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// The control numbers of one sub-block from m = (fn . x) * rho, rho = rsqrt(mean(x^2) +
// norm_epsilon):
//   pre[j]  = sigmoid(m[j] scale[0] + base[j]) + epsilon
//   post[j] = 2 sigmoid(m[N + j] scale[1] + base[N + j])
//   comb    = Sinkhorn(m[2N + N j + k] scale[2] + base[2N + N j + k]), rows first, columns last
// All in fp32 in both numerics.
//
//   products  [T, N (2 + N)]: fn . x
//   streams   [T, N * D]
//   pre, post [T, N]   comb [T, N * N]
template <typename Real>
struct HyperControlArgs {
  tensor::MatrixView<const Real> products;
  tensor::MatrixView<const Real> streams;
  std::span<const float> scale;
  std::span<const float> base;
  double epsilon;
  double norm_epsilon;
  Index iterations;
  tensor::MatrixView<Real> pre;
  tensor::MatrixView<Real> post;
  tensor::MatrixView<Real> comb;
};
// The unrolled iterations, differentiated from the last to the first.
//
//   d_pre, d_post [T, N]   d_comb [T, N * N]; the head has d_pre alone
//   d_products, d_streams  as the operands   d_scale, d_base  may be null
//   scratch  [threads, scratch_columns(N, iterations)]
//   sums     [num_tiles(T), sum_columns(products)]: room for what a tile's tokens add to d_base and
//            d_scale
template <typename Real>
struct HyperControlBackwardArgs {
  static constexpr Index kTokensPerTile = 16;
  static Index num_tiles(Index num_tokens) { return ceil_div(num_tokens, kTokensPerTile); }
  // The matrix and the divisors behind every step of the iterations, for every token of a tile.
  static Index scratch_columns(Index num_streams, Index iterations) {
    return 2 * iterations * num_streams * (num_streams + 1) * kTokensPerTile;
  }
  static Index sum_columns(Index num_products) { return num_products + 3; }

  tensor::MatrixView<const Real> products;
  tensor::MatrixView<const Real> streams;
  std::span<const float> scale;
  std::span<const float> base;
  double norm_epsilon;
  double epsilon;
  Index iterations;
  tensor::MatrixView<const Real> d_pre;
  tensor::MatrixView<const Real> d_post;
  tensor::MatrixView<const Real> d_comb;
  tensor::MatrixView<Real> d_products;
  tensor::MatrixView<Real> d_streams;
  Real* d_scale;
  Real* d_base;
  tensor::MatrixView<Real> scratch;
  tensor::MatrixView<Real> sums;
};
struct HyperControl {
  tensor::Tensor pre;   // [T, N]
  tensor::Tensor post;  // [T, N]
  tensor::Tensor comb;  // [T, N, N]
};
struct HyperParameters {
  std::span<const float> scale;
  std::span<const float> base;
  double epsilon;
  double norm_epsilon;
  Index iterations;
};
HyperControl hyper_control(Context& context,
                           const tensor::Tensor& products,
                           const tensor::Tensor& streams,
                           const HyperParameters& parameters);

// The head's weights: pre alone, with one scale: [T, N].
tensor::Tensor hyper_head_weights(Context& context,
                                  const tensor::Tensor& products,
                                  const tensor::Tensor& streams,
                                  const HyperParameters& parameters);

// out[t] = sum_j weights[t, j] streams[t, j], in the order of j. Official rounding: at the end.
//
//   streams  [T, N * D]   weights  [T, N]   out  [T, D]
template <typename Real>
struct HyperCollapseArgs {
  tensor::MatrixView<const Real> streams;
  tensor::MatrixView<const Real> weights;
  Rounding rounding;
  tensor::MatrixView<Real> out;
};
// d_streams[t, j] += weights[t, j] d_out[t],  d_weights[t, j] += streams[t, j] . d_out[t]
template <typename Real>
struct HyperCollapseBackwardArgs {
  tensor::MatrixView<const Real> streams;
  tensor::MatrixView<const Real> weights;
  tensor::MatrixView<const Real> d_out;
  tensor::MatrixView<Real> d_streams;
  tensor::MatrixView<Real> d_weights;
};
tensor::Tensor hyper_collapse(Context& context,
                              const tensor::Tensor& streams,
                              const tensor::Tensor& weights);

// streams[t, k] = post[t, k] y[t] + sum_j comb[t, j, k] streams[t, j]: comb is applied transposed,
// the sum runs over the source j. Official rounding: at the end.
//
//   streams  [T, N * D], in place   y  [T, D]   post  [T, N]   comb  [T, N * N]
template <typename Real>
struct HyperMergeArgs {
  static constexpr Index kMaxStreams = 16;  // checked by hyper_control

  tensor::MatrixView<Real> streams;
  tensor::MatrixView<const Real> y;
  tensor::MatrixView<const Real> post;
  tensor::MatrixView<const Real> comb;
  Rounding rounding;
};
// With g[k] the gradient of merged stream k: d_y += sum_k post[k] g[k], d_post[k] += y . g[k],
// d_comb[j, k] += streams[j] . g[k], and in place d_streams[j] = sum_k comb[j, k] g[k].
//
//   streams  [T, N * D], as they were before
template <typename Real>
struct HyperMergeBackwardArgs {
  tensor::MatrixView<const Real> streams;
  tensor::MatrixView<const Real> y;
  tensor::MatrixView<const Real> post;
  tensor::MatrixView<const Real> comb;
  tensor::MatrixView<Real> d_streams;
  tensor::MatrixView<Real> d_y;
  tensor::MatrixView<Real> d_post;
  tensor::MatrixView<Real> d_comb;
};
void hyper_merge(Context& context,
                 const tensor::Tensor& streams,
                 const HyperControl& control,
                 const tensor::Tensor& y);

// each[t, j] += shared[t]: how the MTP block joins the embedding to every stream, and, of one
// stream, the residual connection of plain transformers. Official rounding: at the end.
//
//   shared  [T, D]   each  [T * N, D], in place
template <typename Real>
struct AddToStreamsArgs {
  tensor::MatrixView<const Real> shared;
  Rounding rounding;
  tensor::MatrixView<Real> each;
};
// d_shared[t] += sum_j d_each[t, j]; the gradient of `each` stays what it is.
template <typename Real>
struct AddToStreamsBackwardArgs {
  tensor::MatrixView<const Real> d_each;
  tensor::MatrixView<Real> d_shared;
};
void add_to_streams(Context& context, const tensor::Tensor& shared, const tensor::Tensor& each);

}  // namespace fathom::ops
