// The clamped, gated activation of an expert (specification 3.7).
#pragma once

#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// out = silu(min(gate, limit)) * clamp(up, -limit, limit) * weight
// Official rounding: once, at the end.
//
//   gate, up, out  [S, I]; out may be gate
//   weight         [S], or none (1)
template <typename Real>
struct SwigluArgs {
  tensor::MatrixView<const Real> gate;
  tensor::MatrixView<const Real> up;
  const Real* weight;  // null: 1
  double limit;
  Rounding rounding;
  tensor::MatrixView<Real> out;
};

// `weight` is a tensor [S] or empty.
void swiglu(Context& context,
            const tensor::Tensor& gate,
            const tensor::Tensor& up,
            const tensor::Tensor& weight,
            double limit);

}  // namespace fathom::ops
