// The logits of a head for some rows at a time: all of them are rarely wanted together.
#pragma once

#include <algorithm>

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"

namespace fathom::ops {

// Rows whose logits are made together: 16 MiB of fp32 numbers, within limits.
constexpr Index loss_rows(Index vocab_size) {
  constexpr Index kNumbers = Index{4} << 20;
  return std::clamp(kNumbers / vocab_size, Index{128}, Index{512});
}

// Calls use(first, count, logits) for rows [first, first + count) of x, loss_rows(V) at a time,
// their logits [count, V] in step memory until it returns.
template <typename Use>
void for_each_head_block(Context& context,
                         const numeric::WeightView& head,
                         const tensor::Tensor& x,
                         const Use& use) {
  const Index most = loss_rows(head.rows);
  for (Index first = 0; first < x.dim(0); first += most) {
    const tensor::Arena::Scope scope(context.arena);
    const Index count = std::min(most, x.dim(0) - first);
    use(first, count, linear(context, head, x.slice(first, count), context.unrounded_products()));
  }
}

// From the gradient of the logits [count, V] of some rows to those of the rows and of the head.
//
//   x  [count, D]
inline void go_back_through_head(Context& context,
                                 Gradients& gradients,
                                 const numeric::WeightView& head,
                                 const tensor::Tensor& x,
                                 const tensor::Tensor& d_logits) {
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.training.linear_backward.run({.weight = head,
                                          .x = x.matrix<Real>(),
                                          .d_out = d_logits.matrix<Real>(),
                                          .d_x = gradients.of(x).matrix<Real>(),
                                          .d_weight = matrix_or_none<Real>(gradients.of(head)),
                                          .operands = context.gradient_operands},
                                         context.pool);
  });
}

}  // namespace fathom::ops
