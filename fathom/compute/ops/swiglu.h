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

// The gradient passes a clamp where the number was not beyond it. In place: from the gradient of
// the result, which took the gate's memory, to that of the gate.
//
//   gate, up          [S, I], as they were before
//   d_gate            [S, I], in place   d_up  [S, I]
//   weight, d_weight  [S], both or none
template <typename Real>
struct SwigluBackwardArgs {
  tensor::MatrixView<const Real> gate;
  tensor::MatrixView<const Real> up;
  const Real* weight;
  double limit;
  tensor::MatrixView<Real> d_gate;
  tensor::MatrixView<Real> d_up;
  Real* d_weight;
};

// `weight` is a tensor [S] or empty. The result takes the memory of `gate`.
void swiglu(Context& context,
            const tensor::Tensor& gate,
            const tensor::Tensor& up,
            const tensor::Tensor& weight,
            double limit);

}  // namespace fathom::ops
