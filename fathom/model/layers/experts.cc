#include "fathom/model/layers/experts.h"

#include <algorithm>
#include <numeric>

#include "fathom/compute/ops/balance_loss.h"
#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/require.h"
#include "fathom/compute/ops/swiglu.h"
#include "fathom/model/layers/step.h"

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
      scale_(config.route_scale),
      terms_idx_(training_layer(config, block, layer_idx)) {
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
  const bool is_by_score = table_.empty();
  const ops::Routes routes =
      is_by_score ? ops::route_top_k(context, logits, bias_, num_chosen_, scale_)
                  : ops::route_by_table(context, logits, table_, tokens, num_chosen_, scale_);
  ops::balance_experts(context, logits, routes, terms_idx_, is_by_score);
  return routes;
}

void ExpertWeights::add(const weights::Store& store, const WeightKey& key, Index num_matrices) {
  for (Index expert = 0; expert < num_matrices; ++expert) {
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

namespace {

// Whether one list may hold both.
bool are_alike(const Weight& a, const Weight& b) {
  return a.rounds_its_input() == b.rounds_its_input() &&
         ops::are_multiplied_alike(a.shape(), b.shape());
}

// Slots of the first `num_lists` lists of matrices, one list after another: in each, those of the
// routed experts, then one for each token if the list ends with a shared expert.
struct SlotLists {
  std::span<std::int32_t> source;
  std::span<std::int32_t> offsets;
};

SlotLists list_slots(tensor::Arena& arena,
                     const ops::ExpertSlots& slots,
                     Index num_shared_slots,
                     Index num_lists) {
  const auto source = ops::int_span(slots.source);
  const auto offsets = ops::int_span(slots.offsets).first(to_size(slots.offsets.dim(0) - 1));
  const Index list_slots = to_index(source.size()) + num_shared_slots;
  const Index list_matrices = to_index(offsets.size()) + (num_shared_slots > 0 ? 1 : 0);
  const SlotLists lists = {arena.allocate_array<std::int32_t>(num_lists * list_slots),
                           arena.allocate_array<std::int32_t>(num_lists * list_matrices + 1)};
  for (Index list = 0; list < num_lists; ++list) {
    const auto shared =
        std::copy(source.begin(), source.end(), lists.source.begin() + list * list_slots);
    std::iota(shared, shared + num_shared_slots, 0);
    const auto first = static_cast<std::int32_t>(list * list_slots);
    auto next =
        std::transform(offsets.begin(), offsets.end(), lists.offsets.begin() + list * list_matrices,
                       [&](std::int32_t offset) { return first + offset; });
    if (num_shared_slots > 0) {
      *next = first + static_cast<std::int32_t>(source.size());
    }
  }
  lists.offsets.back() = static_cast<std::int32_t>(num_lists * list_slots);
  return lists;
}

}  // namespace

ExpertAdapter::ExpertAdapter(const weights::Store& store,
                             const WeightKey& routed,
                             Index num_experts,
                             const std::optional<WeightKey>& shared)
    : routed_(store, routed, num_experts) {
  if (shared) {
    shared_.emplace(store, *shared);
  }
}

void ExpertAdapter::add(ops::Context& context,
                        const tensor::Tensor& x,
                        std::span<const std::int32_t> source,
                        std::span<const std::int32_t> offsets,
                        const tensor::Tensor& y) const {
  const Index num_routed = offsets.back();
  routed_.add(
      context,
      {.x = source.empty() ? x.slice(0, num_routed) : x, .source = source, .offsets = offsets},
      {.y = y.slice(0, num_routed), .rounding = context.rounding()});
  if (shared_) {
    const Index num_shared = y.dim(0) - num_routed;
    shared_->add(context, source.empty() ? x.slice(num_routed, num_shared) : x,
                 {.y = y.slice(num_routed, num_shared), .rounding = context.rounding()});
  }
}

Experts::Experts(const weights::Store& store,
                 const config::ModelConfig& config,
                 const config::LayerConfig& layer,
                 config::Block block,
                 Index layer_idx)
    : layer_idx_(layer_idx),
      num_experts_(config.num_experts),
      limit_(layer.swiglu_limit),
      router_(store, config, layer, block, layer_idx) {
  const auto key = [&](WeightRole role) { return WeightKey{role, block, layer_idx}; };
  const auto weight = [&](WeightRole role) { return Weight(store.matrix(key(role))); };
  const Weight gate = weight(WeightRole::ExpertGate);
  const bool is_shared_joined =
      layer.swiglu_limit == layer.shared_swiglu_limit &&
      are_alike(gate, weight(WeightRole::SharedGate)) &&
      are_alike(weight(WeightRole::ExpertUp), weight(WeightRole::SharedUp)) &&
      are_alike(weight(WeightRole::ExpertDown), weight(WeightRole::SharedDown));
  const auto add = [&](ExpertWeights& list, WeightRole routed, WeightRole shared) {
    list.add(store, key(routed), num_experts_);
    if (is_shared_joined) {
      list.add(store, key(shared), 1);
    }
  };
  add(gate_up_, WeightRole::ExpertGate, WeightRole::SharedGate);
  if (!are_alike(gate, weight(WeightRole::ExpertUp))) {
    up_.emplace();
  }
  add(up_ ? *up_ : gate_up_, WeightRole::ExpertUp, WeightRole::SharedUp);
  add(down_, WeightRole::ExpertDown, WeightRole::SharedDown);
  const auto adapter = [&](WeightRole routed, WeightRole shared) {
    return ExpertAdapter(store, key(routed), num_experts_,
                         is_shared_joined ? std::optional(key(shared)) : std::nullopt);
  };
  gate_adapter_ = adapter(WeightRole::ExpertGate, WeightRole::SharedGate);
  up_adapter_ = adapter(WeightRole::ExpertUp, WeightRole::SharedUp);
  down_adapter_ = adapter(WeightRole::ExpertDown, WeightRole::SharedDown);
  if (!is_shared_joined) {
    shared_.emplace(store,
                    GatedMlp::Keys{.gate = key(WeightRole::SharedGate),
                                   .up = key(WeightRole::SharedUp),
                                   .down = key(WeightRole::SharedDown)},
                    layer.shared_swiglu_limit);
  }
}

tensor::Tensor Experts::forward(ops::Context& context,
                                const tensor::Tensor& x,
                                std::span<const std::int32_t> tokens) const {
  const ops::LinearInput input(context, gate_up_.shape(), x);
  const ops::Routes routes = router_.forward(context, input, tokens);
  context.observe("route_ids", layer_idx_, routes.ids);
  context.observe("route_weights", layer_idx_, routes.weights);
  const ops::ExpertSlots slots = ops::sort_by_expert(context, routes.ids, num_experts_);
  const tensor::Tensor outputs = down_products(context, input, routes, slots);
  const Index num_routed = slots.source.dim(0);
  return ops::combine_experts(
      context, outputs.slice(0, num_routed), slots.slot_of,
      shared_ ? shared_->forward(context, input) : outputs.slice(num_routed, x.dim(0)));
}

// What each slot's expert gives: routed slots, then the shared expert's if it is joined.
tensor::Tensor Experts::down_products(ops::Context& context,
                                      const ops::LinearInput& input,
                                      const ops::Routes& routes,
                                      const ops::ExpertSlots& slots) const {
  const Index num_shared_slots = shared_ ? 0 : input.x().dim(0);
  const SlotLists once = list_slots(context.arena, slots, num_shared_slots, 1);
  const SlotLists twice = list_slots(context.arena, slots, num_shared_slots, 2);
  const Index num_slots = to_index(once.source.size());
  const ops::LinearInput rounded = rounded_input(context, gate_up_.front(), input);
  const auto products = [&](const ExpertWeights& list, const SlotLists& lists) {
    return ops::expert_linear(context, list.views(lists.offsets), rounded, lists.source,
                              lists.offsets, context.products());
  };
  const tensor::Tensor both = products(gate_up_, up_ ? once : twice);
  const tensor::Tensor gate = both.slice(0, num_slots);
  const tensor::Tensor up = up_ ? products(*up_, once) : both.slice(num_slots, num_slots);
  const auto source = ops::int_span(slots.source);
  const auto offsets = ops::int_span(slots.offsets);
  gate_adapter_.add(context, input.x(), source, offsets, gate);
  up_adapter_.add(context, input.x(), source, offsets, up);
  // The routing weight is applied before the down projection: it is rounded with the activation.
  ops::swiglu(context, gate, up,
              ops::scatter_to_slots(context, routes.weights, slots.slot_of, num_shared_slots),
              limit_);
  const tensor::Tensor out = ops::expert_linear(context, down_.views(once.offsets),
                                                rounded_input(context, down_.front(), gate), {},
                                                once.offsets, context.products());
  down_adapter_.add(context, gate, {}, offsets, out);
  return out;
}

}  // namespace fathom::layers
