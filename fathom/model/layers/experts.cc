#include "fathom/model/layers/experts.h"

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/require.h"
#include "fathom/compute/ops/swiglu.h"

namespace fathom::layers {

using config::WeightKey;
using config::WeightRole;

Router::Router(const weights::Store& store,
               const config::ModelConfig& config,
               const config::LayerConfig& layer,
               config::Block block,
               Index layer_idx)
    : weight_(store, {WeightRole::RouterWeight, block, layer_idx}),
      num_chosen_(config.num_experts_per_token),
      scale_(config.route_scale) {
  if (layer.router == config::RouterKind::HashTable) {
    table_ = store.ids({WeightRole::RouterTable, block, layer_idx}, config.num_experts);
  } else {
    bias_ = store.floats({WeightRole::RouterBias, block, layer_idx});
  }
}

ops::Routes Router::forward(ops::Context& context,
                            const ops::LinearInput& input,
                            std::span<const std::int32_t> tokens) const {
  const tensor::Tensor logits = weight_.forward_unrounded(context, input);
  if (table_.empty()) {
    return ops::route_top_k(context, logits, bias_, num_chosen_, scale_);
  }
  return ops::route_by_table(context, logits, table_, tokens, num_chosen_, scale_);
}

ExpertWeights::ExpertWeights(const weights::Store& store, const WeightKey& key, Index num_experts) {
  for (Index expert = 0; expert < num_experts; ++expert) {
    weights_.emplace_back(store.matrix(key, expert));
    views_.push_back(store.matrix(key, expert).view);
    if (weights_.back().rounds_its_input() != weights_.front().rounds_its_input()) {
      fail(ErrorCode::Unsupported, weights_.back().name(), ": format ",
           numeric::to_string(weights_.back().format()), ", expected ",
           numeric::to_string(weights_.front().format()), " as expert 0 of the layer");
    }
  }
}

std::span<const numeric::WeightView> ExpertWeights::views(
    std::span<const std::int32_t> offsets) const {
  for (std::size_t expert = 0; expert < weights_.size(); ++expert) {
    if (offsets[expert + 1] > offsets[expert]) {
      weights_[expert].view();
    }
  }
  return views_;
}

Experts::Experts(const weights::Store& store,
                 const config::ModelConfig& config,
                 const config::LayerConfig& layer,
                 config::Block block,
                 Index layer_idx)
    : layer_idx_(layer_idx),
      num_experts_(config.num_experts),
      limit_(layer.swiglu_limit),
      router_(store, config, layer, block, layer_idx),
      gate_(store, {WeightRole::ExpertGate, block, layer_idx}, num_experts_),
      up_(store, {WeightRole::ExpertUp, block, layer_idx}, num_experts_),
      down_(store, {WeightRole::ExpertDown, block, layer_idx}, num_experts_),
      shared_(store,
              {.gate = {WeightRole::SharedGate, block, layer_idx},
               .up = {WeightRole::SharedUp, block, layer_idx},
               .down = {WeightRole::SharedDown, block, layer_idx}},
              layer.shared_swiglu_limit) {}

tensor::Tensor Experts::forward(ops::Context& context,
                                const tensor::Tensor& x,
                                std::span<const std::int32_t> tokens) const {
  const ops::LinearInput input(context, gate_.shape(), x);
  const ops::Routes routes = router_.forward(context, input, tokens);
  context.observe("route_ids", layer_idx_, routes.ids);
  context.observe("route_weights", layer_idx_, routes.weights);
  const ops::ExpertSlots slots = ops::sort_by_expert(context, routes.ids, num_experts_);
  const tensor::Tensor outputs = routed(context, input, routes, slots);
  return ops::combine_experts(context, outputs, slots.slot_of, shared_.forward(context, input));
}

tensor::Tensor Experts::routed(ops::Context& context,
                               const ops::LinearInput& input,
                               const ops::Routes& routes,
                               const ops::ExpertSlots& slots) const {
  const auto source = ops::int_span(slots.source);
  const auto offsets = ops::int_span(slots.offsets);
  const ops::LinearInput rounded = rounded_input(context, gate_.front(), input);
  const tensor::Tensor gate = ops::expert_linear(context, gate_.views(offsets), rounded, source,
                                                 offsets, context.rounding());
  const tensor::Tensor up =
      ops::expert_linear(context, up_.views(offsets), rounded, source, offsets, context.rounding());
  const tensor::Tensor slot_weights = ops::scatter_to_slots(context, routes.weights, slots.slot_of);
  // The routing weight is applied before the down projection: it is rounded with the activation.
  ops::swiglu(context, gate, up, slot_weights, limit_);
  const ops::LinearInput hidden = rounded_input(context, down_.front(), gate);
  return ops::expert_linear(context, down_.views(offsets), hidden, {}, offsets, context.rounding());
}

}  // namespace fathom::layers
