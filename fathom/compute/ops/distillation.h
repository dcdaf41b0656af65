// Learning from a teacher's most likely tokens, computed together with the head.
//
// A teacher's distribution over V tokens is kept as the log-probabilities of its k likeliest tokens
// and that of all others lumped together. A student is compared with the same k + 1 events. (The
// alternative, to renormalise over the k tokens, says nothing about what a student gives to all
// others: it may be everything.)
#pragma once

#include <span>

#include "fathom/compute/numeric/weight_format.h"
#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// The k most likely tokens of every row and log(softmax(logits / temperature)) of each; last the
// log of what the others have together, minus infinity where there are none. The lower id wins a
// tie.
//
//   logits  [T, V]   ids  [T, k] ascending   log_probs  [T, k + 1]
template <typename Real>
struct TopLogProbsArgs {
  tensor::MatrixView<const Real> logits;
  double temperature;
  tensor::MatrixView<std::int32_t> ids;
  tensor::MatrixView<Real> log_probs;
};

// With p the teacher's k + 1 probabilities and q the student's of the same events at the same
// temperature: losses[t] = temperature^2 sum_i p[i] log(p[i] / q[i]), in nats. (The square keeps
// the size of gradients: Hinton, Vinyals and Dean 2015.)
//
//   logits  [T, V]   ids  [T, k]   log_probs  [T, k + 1]   losses  [T]
template <typename Real>
struct DistillationArgs {
  tensor::MatrixView<const Real> logits;
  tensor::MatrixView<const std::int32_t> ids;
  tensor::MatrixView<const Real> log_probs;
  double temperature;
  Real* losses;
};

// logits[t, v] becomes its own gradient: with s = softmax(logits / temperature),
// d_losses[t] temperature (s[v] - p[i]) for v = ids[i], and of the other tokens
// d_losses[t] temperature (s[v] - p[k] s[v] / q[k]).
//
//   logits  [T, V], in place   d_losses  [T]
template <typename Real>
struct DistillationBackwardArgs {
  tensor::MatrixView<Real> logits;
  tensor::MatrixView<const std::int32_t> ids;
  tensor::MatrixView<const Real> log_probs;
  double temperature;
  const Real* d_losses;
};

// What a teacher says about the rows of a step.
struct TopTokens {
  tensor::Tensor ids;        // [T, k] I32
  tensor::Tensor log_probs;  // [T, k + 1]
  double temperature = 1;

  TopTokens slice(Index first, Index count) const {
    return {ids.slice(first, count), log_probs.slice(first, count), temperature};
  }
};

// Uninitialised, in step memory.
TopTokens allocate_top_tokens(Context& context, Index num_tokens, Index k, double temperature);

// Fills `top` with what the logits head x[t] say. Not recorded.
//
//   head  [V, D]   x  [T, D]
//
// Throws InvalidArgument for a k that is not 1 to V.
void head_top_log_probs(Context& context,
                        const numeric::WeightView& head,
                        const tensor::Tensor& x,
                        const TopTokens& top);

// The losses [T] of the logits head x[t], which are not kept (ops/cross_entropy.h).
//
// Throws InvalidArgument for an id outside the vocabulary: the teacher has another one.
tensor::Tensor head_distillation(Context& context,
                                 const numeric::WeightView& head,
                                 const tensor::Tensor& x,
                                 const TopTokens& teacher);

}  // namespace fathom::ops
