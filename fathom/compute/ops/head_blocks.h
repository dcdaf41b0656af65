// The logits of a head for some rows at a time: all of them are rarely wanted together.
#pragma once

#include <algorithm>

#include "fathom/compute/ops/linear.h"

namespace fathom::ops {

inline constexpr Index kLossRows = 128;

// Calls use(first, count, logits) for rows [first, first + count) of x, kLossRows at a time, their
// logits [count, V] in step memory until it returns.
template <typename Use>
void for_each_head_block(Context& context,
                         const numeric::WeightView& head,
                         const tensor::Tensor& x,
                         const Use& use) {
  for (Index first = 0; first < x.dim(0); first += kLossRows) {
    const tensor::Arena::Scope scope(context.arena);
    const Index count = std::min(kLossRows, x.dim(0) - first);
    use(first, count, linear(context, head, x.slice(first, count), Rounding::None));
  }
}

}  // namespace fathom::ops
