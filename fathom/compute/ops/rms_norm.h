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

void head_norm(Context& context, const tensor::Tensor& x, Index head_dim, double epsilon);

}  // namespace fathom::ops
