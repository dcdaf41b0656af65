// What a low-rank adapter (LoRA) adds to products that were computed: y += scale B (A x).
//
// Four products of existing kernels, so sums follow the one K-order: a row's result does not depend
// on how many tokens are computed together. A and B are F32, whatever the format of the weight that
// they stand beside. What is left of the step is A x alone: B (A x) is made, added and taken back.
#pragma once

#include <span>

#include "fathom/compute/numeric/weight_format.h"
#include "fathom/compute/ops/context.h"

namespace fathom::ops {

//   a  [r, K]   b  [O, r]
struct LowRankView {
  numeric::WeightView a;
  numeric::WeightView b;
  double scale;  // alpha / r; rounded to fp32
};

// Where it is added: columns [first_column, first_column + O) of `y` [T, *], which products whose
// backward half does not read them have written. Rounded once more after the sum.
struct LowRankTarget {
  tensor::Tensor y;
  Index first_column = 0;
  Rounding rounding = Rounding::None;
};

//   x  [T, K], what the weight multiplied, before any rounding to FP8 or int8 blocks
void add_low_rank(Context& context,
                  const LowRankView& low_rank,
                  const tensor::Tensor& x,
                  const LowRankTarget& target);

// Beside grouped_linear: y[t, g] += scale B[g] (A x[t, g]).
//
//   a  [r, K]   b  [G * O, r]   x  [T, G * K]   y  [T, G * O]
void add_low_rank_grouped(Context& context,
                          const LowRankView& low_rank,
                          const tensor::Tensor& x,
                          Index num_groups,
                          const LowRankTarget& target);

// Matrices of experts, of one rank and one scale.
//
//   a  E matrices [r, K]   b  E matrices [O, r]
struct LowRankExpertsView {
  std::span<const numeric::WeightView> a;
  std::span<const numeric::WeightView> b;
  double scale;
};

// Beside expert_linear: y[s] += scale b[e] (a[e] x[source[s]]) for offsets[e] <= s < offsets[e +
// 1].
//
//   x  [*, K]   source  [S], or empty: slot s is row s   offsets  [E + 1]   y  [S, O]
struct ExpertRows {
  tensor::Tensor x;
  std::span<const std::int32_t> source;
  std::span<const std::int32_t> offsets;
};
void add_low_rank_experts(Context& context,
                          const LowRankExpertsView& low_rank,
                          const ExpertRows& rows,
                          const LowRankTarget& target);

}  // namespace fathom::ops
