// The mixture of experts of one layer: router, routed experts, shared expert.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "fathom/compute/ops/route.h"
#include "fathom/model/config/model_config.h"
#include "fathom/model/layers/gated_mlp.h"
#include "fathom/model/layers/low_rank.h"

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
  std::span<const float> bias_;      // top-k routing
  std::vector<std::int32_t> table_;  // hash routing, [V, K]
  Index num_chosen_;
  double scale_;
  Index terms_idx_;
};

// Matrices of one shape, of which each slot of a step meets one.
class ExpertWeights {
 public:
  // Matrices [0, num_matrices) of a role. Throws Unsupported unless all are alike in whether the
  // official numerics round their input.
  void add(const weights::Store& store, const config::WeightKey& key, Index num_matrices);

  // Makes experts that have slots ready, then hands out all views.
  std::span<const numeric::WeightView> views(std::span<const std::int32_t> offsets) const;
  const Weight& front() const { return weights_.front(); }
  // Format and shape of them all; its numbers are not to be read.
  const numeric::WeightView& shape() const { return views_.front(); }

 private:
  std::vector<Weight> weights_;
  std::vector<numeric::WeightView> views_;
};

// What an adapter puts beside one role of a layer's experts: routed ones, and a shared one that is
// computed with them.
class ExpertAdapter {
 public:
  ExpertAdapter() = default;
  // Without `shared` where the shared expert is computed by itself.
  ExpertAdapter(const weights::Store& store,
                const config::WeightKey& routed,
                Index num_experts,
                const std::optional<config::WeightKey>& shared);

  // To the products `y` [S + T, O] of routed slots and, behind them, of the shared expert. x holds
  // a row for each, or, with `source`, the T rows that the slots name and the shared expert takes.
  void add(ops::Context& context,
           const tensor::Tensor& x,
           std::span<const std::int32_t> source,
           std::span<const std::int32_t> offsets,
           const tensor::Tensor& y) const;

 private:
  ExpertLowRanks routed_;
  std::optional<LowRank> shared_;
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
  tensor::Tensor down_products(ops::Context& context,
                               const ops::LinearInput& input,
                               const ops::Routes& routes,
                               const ops::ExpertSlots& slots) const;

  Index layer_idx_;
  Index num_experts_;
  double limit_;
  Router router_;
  // Gates of all experts, then their ups: one loop computes both. A shared expert that is made like
  // the routed ones is the last of each.
  ExpertWeights gate_up_;
  std::optional<ExpertWeights> up_;  // by itself where it is not made like the gate
  ExpertWeights down_;
  std::optional<GatedMlp> shared_;  // computed by itself
  ExpertAdapter gate_adapter_;
  ExpertAdapter up_adapter_;
  ExpertAdapter down_adapter_;
};

}  // namespace fathom::layers
