// What all layers of one step share.
#pragma once

#include "fathom/compute/ops/rope.h"
#include "fathom/model/layers/causal_lm.h"

namespace fathom::deepseek_v4 {

// The batch and the rotation of its positions, in one kind of layer.
struct Step {
  const layers::TokenBatch& batch;
  tensor::Tensor cos_sin;  // [T, R], by the layer's frequencies
};

}  // namespace fathom::deepseek_v4
