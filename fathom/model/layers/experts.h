// The mixture of experts of one layer: router, routed experts, shared expert.
#pragma once

#include <span>
#include <vector>

#include "fathom/compute/ops/route.h"
#include "fathom/model/config/model_config.h"
#include "fathom/model/layers/gated_mlp.h"

namespace fathom::layers {

// Scores the experts and chooses some per token: by score, or by a table of token ids.
class Router {
 public:
  Router(const weights::Store& store,
         const config::ModelConfig& config,
         const config::LayerConfig& layer,
         config::Block block,
         Index layer_idx);
  ops::Routes forward(ops::Context& context,
                      const ops::LinearInput& input,
                      std::span<const std::int32_t> tokens) const;

 private:
  Linear weight_;
  std::vector<float> bias_;          // top-k routing
  std::vector<std::int32_t> table_;  // hash routing, [V, K]
  Index num_chosen_;
  double scale_;
};

// The matrices of one role of all experts.
class ExpertWeights {
 public:
  ExpertWeights(const weights::Store& store, const config::WeightKey& key, Index num_experts);

  // Checks the scales of experts that have slots, then hands out all views.
  std::span<const numeric::WeightView> views(std::span<const std::int32_t> offsets) const;
  const Weight& front() const { return weights_.front(); }
  // Format and shape of them all; its scales are not checked.
  const numeric::WeightView& shape() const { return views_.front(); }

 private:
  std::vector<Weight> weights_;
  std::vector<numeric::WeightView> views_;
};

class Experts {
 public:
  Experts(const weights::Store& store,
          const config::ModelConfig& config,
          const config::LayerConfig& layer,
          config::Block block,
          Index layer_idx);

  // x [T, D] to [T, D]; `tokens` are the ids the rows stand for.
  tensor::Tensor forward(ops::Context& context,
                         const tensor::Tensor& x,
                         std::span<const std::int32_t> tokens) const;

 private:
  tensor::Tensor routed(ops::Context& context,
                        const ops::LinearInput& input,
                        const ops::Routes& routes,
                        const ops::ExpertSlots& slots) const;

  Index layer_idx_;
  Index num_experts_;
  double limit_;
  Router router_;
  ExpertWeights gate_;
  ExpertWeights up_;
  ExpertWeights down_;
  GatedMlp shared_;
};

}  // namespace fathom::layers
