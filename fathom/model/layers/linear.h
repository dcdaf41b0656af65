// A linear layer without bias, its weight in any format.
#pragma once

#include <array>
#include <span>

#include "fathom/compute/ops/linear.h"
#include "fathom/model/layers/low_rank.h"
#include "fathom/model/layers/weight.h"

namespace fathom::layers {

// The input, rounded to FP8 in groups of 128 where the official numerics do so in front of
// `weight`; the input itself otherwise.
ops::LinearInput rounded_input(ops::Context& context,
                               const Weight& weight,
                               const ops::LinearInput& input);

class Linear {
 public:
  Linear(const weights::Store& store, const config::WeightKey& key)
      : weight_(store.matrix(key)), low_rank_(store, key) {}

  // y = W x in the context's numerics: [T, K] to [T, O].
  tensor::Tensor forward(ops::Context& context, const ops::LinearInput& input) const;
  // The same kept in fp32 in both numerics: routers, compressors, mixing parameters, the head.
  tensor::Tensor forward_unrounded(ops::Context& context, const ops::LinearInput& input) const;

  // The grouped projection y[t, g] = W[g] x[t, g] in the context's numerics: [T, G * K] to
  // [T, G * O].
  tensor::Tensor forward_grouped(ops::Context& context,
                                 const tensor::Tensor& x,
                                 Index num_groups) const;

  // x as this layer and others of its format multiply it.
  ops::LinearInput input(ops::Context& context, const tensor::Tensor& x) const {
    return {context, weight_.view(), x};
  }

  const Weight& weight() const { return weight_; }
  // For layers that multiply the weight themselves.
  const LowRank& low_rank() const { return low_rank_; }

 private:
  Weight weight_;
  LowRank low_rank_;
};

// layers[i] of one input, [T, K] to [T, O_i], into out[i]. A single token goes through all layers
// in one loop where their formats allow it; the bits are those of Linear::forward.
void forward_together(ops::Context& context,
                      std::span<const Linear* const> layers,
                      const ops::LinearInput& input,
                      std::span<tensor::Tensor> out);

template <typename... Layers>
auto forward_together(ops::Context& context,
                      const ops::LinearInput& input,
                      const Layers&... layers) {
  std::array<tensor::Tensor, sizeof...(Layers)> out;
  forward_together(context, std::array{&layers...}, input, out);
  return out;
}

}  // namespace fathom::layers
