// Choosing the experts of every token (specification 3.7).
#pragma once

#include <span>

#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// s[e] = sqrt(softplus(logits[t, e])). The K experts with the largest s + bias (the lower expert
// wins a tie), or those that the token table names; weights[t, k] = scale * s / (sum of chosen s).
//
//   logits   [T, E]
//   bias     [E]: chooses, does not weigh; empty with a table
//   table    [V, K] expert ids per token id, or empty
//   tokens   [T]
//   ids      [T, K] ascending
//   weights  [T, K]
template <typename Real>
struct RouteArgs {
  tensor::MatrixView<const Real> logits;
  std::span<const float> bias;
  std::span<const std::int32_t> table;
  std::span<const std::int32_t> tokens;
  double scale;
  tensor::MatrixView<std::int32_t> ids;
  tensor::MatrixView<Real> weights;
};

// With s[k] the score of a token's k-th expert and S their sum: ds[k] = scale / S *
// (d_weights[k] - sum_j d_weights[j] s[j] / S), d_logits[ids[k]] += ds[k] sigmoid(z) / (2 s[k]).
// The bias and the choice have no gradient.
//
//   logits, d_logits  [T, E]   ids  [T, K]   d_weights  [T, K]
template <typename Real>
struct RouteBackwardArgs {
  tensor::MatrixView<const Real> logits;
  tensor::MatrixView<const std::int32_t> ids;
  double scale;
  tensor::MatrixView<const Real> d_weights;
  tensor::MatrixView<Real> d_logits;
};

struct Routes {
  tensor::Tensor ids;      // [T, K] I32
  tensor::Tensor weights;  // [T, K]
};
Routes route_top_k(Context& context,
                   const tensor::Tensor& logits,
                   std::span<const float> bias,
                   Index num_chosen,
                   double scale);
Routes route_by_table(Context& context,
                      const tensor::Tensor& logits,
                      std::span<const std::int32_t> table,
                      std::span<const std::int32_t> tokens,
                      Index num_chosen,
                      double scale);

// Token slots sorted by expert, a counting sort that keeps the order of tokens.
//
//   source     [T * K]: the token of each sorted slot
//   offsets    [E + 1]: slots of expert e are [offsets[e], offsets[e + 1])
//   slot_of    [T, K]: where the token's k-th expert's slot went
struct ExpertSlots {
  tensor::Tensor source;
  tensor::Tensor offsets;
  tensor::Tensor slot_of;
};
ExpertSlots sort_by_expert(Context& context, const tensor::Tensor& ids, Index num_experts);

// The numbers [T, K] of every token's choices in the order of slots, [T * K], and as many ones
// behind them as asked for: [T * K + num_ones].
tensor::Tensor scatter_to_slots(Context& context,
                                const tensor::Tensor& values,
                                const tensor::Tensor& slot_of,
                                Index num_ones = 0);

// out[t] = sum_k slots[slot_of[t, k]] (in fp32, ascending expert) + shared[t].
// Official rounding: once, at the end.
template <typename Real>
struct CombineExpertsArgs {
  tensor::MatrixView<const Real> slots;
  tensor::MatrixView<const std::int32_t> slot_of;
  tensor::MatrixView<const Real> shared;
  Rounding rounding;
  tensor::MatrixView<Real> out;
};
// d_slots[slot_of[t, k]] += d_out[t], d_shared[t] += d_out[t]
template <typename Real>
struct CombineExpertsBackwardArgs {
  tensor::MatrixView<const std::int32_t> slot_of;
  tensor::MatrixView<const Real> d_out;
  tensor::MatrixView<Real> d_slots;
  tensor::MatrixView<Real> d_shared;
};
tensor::Tensor combine_experts(Context& context,
                               const tensor::Tensor& slots,
                               const tensor::Tensor& slot_of,
                               const tensor::Tensor& shared);

}  // namespace fathom::ops
