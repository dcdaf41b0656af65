// The loss of predicting the next token, computed together with the head.
#pragma once

#include <span>

#include "fathom/compute/numeric/weight_format.h"
#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// losses[t] = log(sum_v exp(logits[t, v])) - logits[t, targets[t]], in nats.
//
//   logits   [T, V]   targets  [T], in [0, V)   losses  [T]
template <typename Real>
struct CrossEntropyArgs {
  tensor::MatrixView<const Real> logits;
  std::span<const std::int32_t> targets;
  Real* losses;
};

// logits[t, v] becomes its own gradient, d_losses[t] (softmax(logits[t])[v] - (v == targets[t])).
//
//   logits  [T, V], in place   d_losses  [T]
template <typename Real>
struct CrossEntropyBackwardArgs {
  tensor::MatrixView<Real> logits;
  std::span<const std::int32_t> targets;
  const Real* d_losses;
};

// The losses [T] of the logits head x[t], which are not kept: they are computed for some rows at a
// time (ops/head_blocks.h), and once more on the way back.
//
//   head  [V, D]   x  [T, D]   targets  [T]
//
// Throws InvalidArgument for a target outside the vocabulary.
tensor::Tensor head_cross_entropy(Context& context,
                                  const numeric::WeightView& head,
                                  const tensor::Tensor& x,
                                  std::span<const std::int32_t> targets);

}  // namespace fathom::ops
