// The normalised Walsh-Hadamard transform of every row, in Sylvester order (specification 3.6).
#pragma once

#include "fathom/compute/ops/context.h"

namespace fathom::ops {

//   x  [T, n], in place; n a power of two. Butterflies of stride 1, 2, 4, ..., then times n^{-1/2}.
// Official rounding: once, at the end.
template <typename Real>
struct HadamardArgs {
  tensor::MatrixView<Real> x;
  Rounding rounding;
};
void hadamard(Context& context, const tensor::Tensor& x, Index row_width);

}  // namespace fathom::ops
