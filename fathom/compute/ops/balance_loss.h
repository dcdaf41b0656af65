// What a router pays for preferring some experts, and how many rows each expert gets
// (specification 6.3: the sequence-wise balance loss of DeepSeek-V3, with V4's scores).
#pragma once

#include <span>

#include "fathom/compute/ops/route.h"
#include "fathom/compute/ops/training_terms.h"

namespace fathom::ops {

// For every piece of n rows, with s[e] = sqrt(softplus(logits[t, e])):
//   f[e] = E / (K n) #{t: s[e] is among the K largest of row t},  P[e] = mean_t s[e] / sum_j s[j],
//   loss += weight sum_e f[e] P[e]
// The bias that routes are chosen with has no part in f, as in V3. f is a count and has no
// gradient:
//   d_logits[t, e] += d_loss weight / n (f[e] - sum_j f[j] s[j] / S) / S ds[e]/dlogits,  S = sum s
//
//   logits    [T, E]   d_logits  [T, E], or none
//   no_bias   [E] zeros
//   chosen    scratch [K]   scratch  [3, E]
//   loss      added to
template <typename Real>
struct BalanceLossArgs {
  tensor::MatrixView<const Real> logits;
  std::span<const TrainingTerms::Piece> pieces;
  std::span<const float> no_bias;
  std::span<std::int32_t> chosen;
  double d_loss;
  tensor::MatrixView<Real> scratch;
  tensor::MatrixView<Real> d_logits;
  double* loss;
};

// Reports the rows of every expert and, if the router chooses by score, its balance loss to the
// context's terms as layer `layer_idx`. Does nothing in a context without terms.
void balance_experts(Context& context,
                     const tensor::Tensor& logits,
                     const Routes& routes,
                     Index layer_idx,
                     bool is_by_score);

}  // namespace fathom::ops
