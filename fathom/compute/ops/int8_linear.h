// Matrix products in the numerics `fast`: activations rounded to int8 blocks, weights that already
// are int8 blocks, integer sums inside a block.
//
//   y[o] = sum over blocks b, ascending, of  (S_b w_b) x_b + m_b (X_b x_b)
//
// S_b is the exact integer sum of the 32 products of a weight's code and an activation's code minus
// zero, X_b that of the latter; w_b and x_b are the scales and m_b the weight's minimum. The order
// does not depend on how many rows or tokens are computed together, nor on the weight's layout
// (docs/numerics.md).
#pragma once

#include <span>

#include "fathom/compute/numeric/weight_format.h"
#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// Rows of activations in int8 blocks: number k of row t is
// (codes[t, k] - zeros[t, k / 32]) * scales[t, k / 32].
//
//   codes  [T, K]   scales, zeros  [T, K / 32]   sums  [T, K / 32]  of a block's codes minus zero
struct Int8Rows {
  tensor::MatrixView<std::uint8_t> codes;
  tensor::MatrixView<float> scales;
  tensor::MatrixView<std::int32_t> zeros;
  tensor::MatrixView<std::int32_t> sums;
};

//   x  [T, K]; rows may be strided; K is a multiple of 32
template <typename Real>
struct RoundToInt8Args {
  tensor::MatrixView<const Real> x;
  Int8Rows out;
};

//   weight  [O, K] in a format that has int8 blocks   out  [T, O]; rows may be strided
template <typename Real>
struct Int8LinearArgs {
  numeric::WeightView weight;
  Int8Rows x;
  tensor::MatrixView<Real> out;
};

// Products of routed experts, as ExpertLinearArgs: out[s] = weights[e] x[source[s]].
template <typename Real>
struct ExpertInt8LinearArgs {
  std::span<const numeric::WeightView> weights;
  Int8Rows x;
  std::span<const std::int32_t> source;
  std::span<const std::int32_t> offsets;
  tensor::MatrixView<Real> out;
};

// Whether the numerics of the context round what a weight is multiplied with to int8 blocks.
bool uses_int8(const Context& context, const numeric::WeightView& weight);

Int8Rows round_to_int8(Context& context, const tensor::Tensor& x, Index columns);

// Columns [first_column, first_column + columns) of every row; both are multiples of 32.
Int8Rows slice_columns(const Int8Rows& rows, Index first_column, Index columns);

}  // namespace fathom::ops
