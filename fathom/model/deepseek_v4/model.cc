#include "fathom/model/deepseek_v4/model.h"

#include <utility>

#include "fathom/compute/ops/copy.h"
#include "fathom/compute/ops/embed.h"
#include "fathom/model/deepseek_v4/mtp_block.h"
#include "fathom/model/layers/rope.h"
#include "fathom/model/layers/segment.h"

namespace fathom::deepseek_v4 {
namespace {

using config::Block;
using config::WeightRole;

bool is_window_layer(const config::LayerConfig& layer) {
  return layer.attention == config::AttentionKind::SlidingWindow;
}

// The rotation of the first layer of a kind; all layers of a kind share it. Empty without one.
ops::RopeFrequencies frequencies_of_kind(const config::ModelConfig& config, bool is_window) {
  for (const auto* part : {&config.layers, &config.mtp_layers}) {
    for (const config::LayerConfig& layer : *part) {
      if (is_window_layer(layer) == is_window) {
        return layers::rope_frequencies(config.rope_dim, layer.rope);
      }
    }
  }
  return {};
}

std::vector<DecoderLayer> make_layers(const weights::Store& store,
                                      const config::ModelConfig& config,
                                      const std::vector<config::CacheStream>& layout,
                                      const RopeKinds& rope) {
  std::vector<DecoderLayer> layers;
  layers.reserve(config.layers.size());
  for (Index idx = 0; idx < config.num_layers(); ++idx) {
    const config::LayerConfig& layer = config.layers[to_size(idx)];
    layers.emplace_back(LayerPlace{.store = store,
                                   .config = config,
                                   .layer = layer,
                                   .block = Block::Layer,
                                   .layer_idx = idx,
                                   .layout = layout,
                                   .frequencies = rope.of(layer)});
  }
  return layers;
}

}  // namespace

RopeKinds::RopeKinds(const config::ModelConfig& config)
    : window_(frequencies_of_kind(config, true)), compressed_(frequencies_of_kind(config, false)) {}

const ops::RopeFrequencies& RopeKinds::of(const config::LayerConfig& layer) const {
  return is_window_layer(layer) ? window_ : compressed_;
}

const Step& RopeKinds::Steps::of(const config::LayerConfig& layer) const {
  return is_window_layer(layer) ? window : compressed;
}

RopeKinds::Steps RopeKinds::steps(ops::Context& context, const layers::TokenBatch& batch) const {
  // No table for a kind that no layer has (V4-Pro has window attention in its MTP block alone).
  const auto table = [&](const ops::RopeFrequencies& frequencies) {
    return frequencies.values.empty() ? tensor::Tensor()
                                      : ops::rope_table(context, batch.positions, frequencies);
  };
  return {.window = {batch, table(window_)}, .compressed = {batch, table(compressed_)}};
}

Readout::Readout(const weights::Store& store,
                 const config::ModelConfig& config,
                 Block block,
                 Index layer_idx)
    : collapse_(store,
                config,
                {.fn = {WeightRole::HeadMixFn, block, layer_idx},
                 .base = {WeightRole::HeadMixBase, block, layer_idx},
                 .scale = {WeightRole::HeadMixScale, block, layer_idx}}),
      norm_(store, {WeightRole::FinalNorm, block, layer_idx}, config.norm_epsilon) {}

tensor::Tensor Readout::forward(ops::Context& context, const tensor::Tensor& streams) const {
  return norm_.forward(context, collapse_.forward(context, streams));
}

tensor::Tensor Readout::forward(ops::Context& context,
                                const tensor::Tensor& streams,
                                const layers::Linear& head) const {
  return head.forward_unrounded(context, forward(context, streams));
}

DeepseekV4::DeepseekV4(std::shared_ptr<const weights::Store> store, config::ModelConfig config)
    : store_(std::move(store)),
      config_(std::move(config)),
      layout_(config::cache_layout(config_)),
      rope_(config_),
      embedding_(store_->matrix({WeightRole::Embedding})),
      layers_(make_layers(*store_, config_, layout_, rope_)),
      readout_(*store_, config_, Block::Model, -1),
      head_(*store_, {WeightRole::Head}) {
  // A checkpoint may lack the block although its config names it; then there is nothing to draft
  // with.
  if (!config_.mtp_layers.empty() &&
      store_->has({WeightRole::MtpHiddenProjection, Block::Mtp, 0})) {
    mtp_ = std::make_unique<MtpBlock>(*this);
  }
}

DeepseekV4::~DeepseekV4() = default;

tensor::Tensor DeepseekV4::forward(ops::Context& context, const layers::TokenBatch& batch) const {
  const Index num_tokens = to_index(batch.tokens.size());
  const tensor::Tensor streams =
      context.allocate({num_tokens, config_.num_streams, config_.hidden_size});
  const tensor::Arena::Scope scope(context.arena);
  const tensor::Tensor embedded = ops::embed(context, embedding_.view(), batch.tokens);
  ops::repeat_rows(context, embedded, streams);
  const auto steps = rope_.steps(context, batch);
  for (std::size_t idx = 0; idx < layers_.size(); ++idx) {
    layers::run_segment(context, batch, streams,
                        [&context, &layer = layers_[idx], step = steps.of(config_.layers[idx]),
                         streams] { layer.forward(context, step, streams); });
  }
  return streams;
}

tensor::Tensor DeepseekV4::logits(ops::Context& context, const tensor::Tensor& streams) const {
  return readout_.forward(context, streams, head_);
}

layers::HeadInput DeepseekV4::head_input(ops::Context& context,
                                         const tensor::Tensor& streams) const {
  return {readout_.forward(context, streams), head_.weight().view()};
}

const layers::DraftModule* DeepseekV4::draft() const {
  return mtp_.get();
}

void DeepseekV4::forward_layer(ops::Context& context,
                               const layers::TokenBatch& batch,
                               Index layer_idx,
                               const tensor::Tensor& streams) const {
  const tensor::Arena::Scope scope(context.arena);
  const auto steps = rope_.steps(context, batch);
  layers_[to_size(layer_idx)].forward(context, steps.of(config_.layers[to_size(layer_idx)]),
                                      streams);
}

}  // namespace fathom::deepseek_v4
