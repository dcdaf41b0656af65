// Rows of the embedding table for a step's tokens.
#pragma once

#include <span>

#include "fathom/compute/numeric/weight_format.h"
#include "fathom/compute/ops/context.h"

namespace fathom::ops {

//   table   [V, D]
//   tokens  [T], checked to lie in [0, V)
//   out     [T, D]
template <typename Real>
struct EmbedArgs {
  numeric::WeightView table;
  std::span<const std::int32_t> tokens;
  tensor::MatrixView<Real> out;
};

// d_table[tokens[t]] += d_out[t]
//
//   d_out  [T, D]   d_table  [V, D]
template <typename Real>
struct EmbedBackwardArgs {
  std::span<const std::int32_t> tokens;
  tensor::MatrixView<const Real> d_out;
  tensor::MatrixView<Real> d_table;
};

// Throws InvalidArgument for a token outside the vocabulary.
tensor::Tensor embed(Context& context,
                     const numeric::WeightView& table,
                     std::span<const std::int32_t> tokens);

}  // namespace fathom::ops
