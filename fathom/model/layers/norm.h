// Root-mean-square normalisation with a weight.
#pragma once

#include <span>

#include "fathom/compute/ops/rms_norm.h"
#include "fathom/model/weights/store.h"

namespace fathom::layers {

class Norm {
 public:
  Norm(const weights::Store& store, const config::WeightKey& key, double epsilon)
      : weight_(store.floats(key)), epsilon_(epsilon) {}

  tensor::Tensor forward(ops::Context& context, const tensor::Tensor& x) const {
    return ops::rms_norm(context, x, weight_, epsilon_);
  }

 private:
  std::span<const float> weight_;
  double epsilon_;
};

}  // namespace fathom::layers
