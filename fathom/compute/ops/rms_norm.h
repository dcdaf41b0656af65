// Root-mean-square normalisation, with and without a weight (specification 3.1, 3.3.1).
#pragma once

#include <span>

#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// out[t, i] = weight[i] * (x[t, i] * rsqrt(mean_i(x^2) + epsilon))
// Official rounding: once, at the end.
//
//   x, out  [T, D]; may be the same memory
//   weight  [D]
template <typename Real>
struct RmsNormArgs {
  tensor::MatrixView<const Real> x;
  std::span<const float> weight;
  double epsilon;
  Rounding rounding;
  tensor::MatrixView<Real> out;
};

// With r = rsqrt(mean(x^2) + epsilon) and g[i] = weight[i] d_out[t, i]:
// d_x[t, i] += r g[i] - r^3 x[t, i] mean_j(g[j] x[t, j]),
// d_weight[i] += sum_t d_out[t, i] r x[t, i]
//
//   x, d_out, d_x  [T, D]   weight, d_weight  [D]; d_weight may be null
//   sums           [num_tiles(T), D]: room for the sum over the rows of a tile; none without
//   d_weight
template <typename Real>
struct RmsNormBackwardArgs {
  static constexpr Index kRowsPerTile = 64;
  static Index num_tiles(Index num_rows) { return ceil_div(num_rows, kRowsPerTile); }

  tensor::MatrixView<const Real> x;
  std::span<const float> weight;
  double epsilon;
  tensor::MatrixView<const Real> d_out;
  tensor::MatrixView<Real> d_x;
  Real* d_weight;
  tensor::MatrixView<Real> sums;
};

tensor::Tensor rms_norm(Context& context,
                        const tensor::Tensor& x,
                        std::span<const float> weight,
                        double epsilon);

// x[h, i] *= rsqrt(mean_i(x[h]^2) + epsilon), without a weight: every head of the query.
// Official rounding: the squares, their mean (accumulated in fp32), mean + epsilon, the reciprocal
// root and the product are each rounded to BF16.
//
//   x  [T * H, C], in place
template <typename Real>
struct HeadNormArgs {
  tensor::MatrixView<Real> x;
  double epsilon;
  Rounding rounding;
};

// As RmsNormBackwardArgs with a weight of one, from the gradient of the result to that of x.
//
//   x    [T * H, C], as it was before
//   d_x  [T * H, C], in place
template <typename Real>
struct HeadNormBackwardArgs {
  tensor::MatrixView<const Real> x;
  double epsilon;
  tensor::MatrixView<Real> d_x;
};

void head_norm(Context& context, const tensor::Tensor& x, Index head_dim, double epsilon);

}  // namespace fathom::ops
