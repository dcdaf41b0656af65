// AdamW: Adam with weight decay that does not pass through the moments.
//
// As torch.optim.AdamW computes it (decay first, both moments corrected for their start at zero,
// epsilon added to the corrected root). Real is float, or double for exact comparisons.
#pragma once

#include <span>

#include "fathom/base/core/index.h"
#include "fathom/train/optim/optimizer.h"

namespace fathom::optim {

// What is the same for every number of a parameter in one step.
struct AdamWStep {
  AdamWOptions options = {};
  double learning_rate = 0;
  double weight_decay = 0;    // 0 for a parameter that does not decay
  double gradient_scale = 1;  // gradients are multiplied by it as they are read
  Index step = 1;             // of this parameter, counted from 1
};

// Numbers of one parameter with their moments; all spans are as long as `values`.
template <typename Real>
struct AdamWNumbers {
  std::span<Real> values;
  std::span<const Real> gradient;
  std::span<Real> mean;    // of gradients, "m"
  std::span<Real> square;  // of gradients, "v"
};

//   value -= rate * decay * value
//   m += (1 - beta1) * (g - m),  v = beta2 * v + (1 - beta2) * g^2
//   value -= rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
template <typename Real>
void adamw_update(const AdamWStep& step, const AdamWNumbers<Real>& numbers) noexcept;

}  // namespace fathom::optim
