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
void add_to_streams(Context& context, const tensor::Tensor& shared, const tensor::Tensor& each);

}  // namespace fathom::ops
