// Matrix products with weights in any format: y = W x, without bias.
//
// Sums follow the one K-order of docs/numerics.md, so a row's result does not depend on how many
// tokens or rows are computed together.
#pragma once

#include <span>

#include "fathom/compute/numeric/weight_format.h"
#include "fathom/compute/ops/context.h"

namespace fathom::ops {

//   weight  [O, K]
//   x       [T, K]; rows may be strided (a slice of wider rows)
//   out     [T, O]; rows may be strided
template <typename Real>
struct LinearArgs {
  numeric::WeightView weight;
  tensor::MatrixView<const Real> x;
  Rounding rounding;
  tensor::MatrixView<Real> out;
};

tensor::Tensor linear(Context& context,
                      const numeric::WeightView& weight,
                      const tensor::Tensor& x,
                      Rounding rounding);

// The same into columns [first_column, first_column + O) of `out` [T, *].
void linear_into(Context& context,
                 const numeric::WeightView& weight,
                 const tensor::Tensor& x,
                 Rounding rounding,
                 const tensor::Tensor& out,
                 Index first_column);

// The grouped low-rank output projection: out[t, g] = weight[g] x[t, g] (specification 3.3.5).
//
//   weight  [G * O, K]   x  [T, G * K]   returns  [T, G * O]
tensor::Tensor grouped_linear(Context& context,
                              const numeric::WeightView& weight,
                              const tensor::Tensor& x,
                              Index num_groups,
                              Rounding rounding);

// Products of routed experts over token slots sorted by expert:
// out[s] = weights[e] x[source[s]] for offsets[e] <= s < offsets[e + 1].
//
//   weights  E matrices [O, K]   x  [*, K]   offsets  [E + 1]   out  [S, O]
//   source   [S], or empty: slot s is row s
template <typename Real>
struct ExpertLinearArgs {
  std::span<const numeric::WeightView> weights;
  tensor::MatrixView<const Real> x;
  std::span<const std::int32_t> source;
  std::span<const std::int32_t> offsets;
  Rounding rounding;
  tensor::MatrixView<Real> out;
};

tensor::Tensor expert_linear(Context& context,
                             std::span<const numeric::WeightView> weights,
                             const tensor::Tensor& x,
                             std::span<const std::int32_t> source,
                             std::span<const std::int32_t> offsets,
                             Rounding rounding);

}  // namespace fathom::ops
