// Multiplies every number by a constant.
#pragma once

#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// x *= factor. The factor is rounded to fp32 first. Official rounding: at the end.
template <typename Real>
struct ScaleArgs {
  tensor::MatrixView<Real> x;
  float factor;
  Rounding rounding;
};
void scale(Context& context, const tensor::Tensor& x, double factor);

}  // namespace fathom::ops
