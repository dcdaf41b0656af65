#include "fathom/model/llama/model.h"

#include <cmath>
#include <utility>

#include "fathom/compute/ops/embed.h"
#include "fathom/model/layers/rope.h"
#include "fathom/model/layers/segment.h"

namespace fathom::llama {
namespace {

using config::Block;
using config::WeightRole;

// All layers have one rotation: the readers of configs see to that.
ops::RopeFrequencies make_frequencies(const weights::Store& store,
                                      const config::ModelConfig& config) {
  ops::RopeFrequencies frequencies =
      layers::rope_frequencies(config.rope_dim, config.layers.front().rope);
  if (config.has_rope_divisors) {
    const std::span<const float> divisors = store.floats({WeightRole::RopeDivisors});
    for (const float divisor : divisors) {
      if (!(divisor > 0)) {
        fail(ErrorCode::InvalidCheckpoint, store.matrix({WeightRole::RopeDivisors}).name,
             ": found ", divisor, ", expected a positive number");
      }
    }
    ops::divide_frequencies(frequencies, divisors);
  }
  return frequencies;
}

std::vector<DecoderLayer> make_layers(const weights::Store& store,
                                      const config::ModelConfig& config,
                                      const std::vector<config::CacheStream>& layout,
                                      const ops::RopeFrequencies& frequencies) {
  std::vector<DecoderLayer> layers;
  layers.reserve(config.layers.size());
  for (Index idx = 0; idx < config.num_layers(); ++idx) {
    layers.emplace_back(layers::LayerPlace{.store = store,
                                           .config = config,
                                           .layer = config.layers[to_size(idx)],
                                           .block = Block::Layer,
                                           .layer_idx = idx,
                                           .layout = layout,
                                           .frequencies = frequencies});
  }
  return layers;
}

}  // namespace

Llama::Llama(std::shared_ptr<const weights::Store> store, config::ModelConfig config)
    : store_(std::move(store)),
      config_(std::move(config)),
      layout_(config::cache_layout(config_)),
      frequencies_(make_frequencies(*store_, config_)),
      embedding_(store_->matrix({WeightRole::Embedding})),
      layers_(make_layers(*store_, config_, layout_, frequencies_)),
      norm_(*store_, {WeightRole::FinalNorm}, config_.norm_epsilon),
      head_(*store_, {config_.is_head_tied ? WeightRole::Embedding : WeightRole::Head}) {}

tensor::Tensor Llama::forward(ops::Context& context, const layers::TokenBatch& batch) const {
  const tensor::Tensor hidden = ops::embed(context, embedding_.view(), batch.tokens);
  const tensor::Arena::Scope scope(context.arena);
  const layers::Step step{batch, ops::rope_table(context, batch.positions, frequencies_)};
  for (const DecoderLayer& layer : layers_) {
    layers::run_segment(context, batch, hidden,
                        [&context, &layer, step, hidden] { layer.forward(context, step, hidden); });
  }
  return hidden;
}

layers::HeadInput Llama::head_input(ops::Context& context, const tensor::Tensor& hidden) const {
  return {norm_.forward(context, hidden), head_.weight().view()};
}

tensor::Tensor Llama::logits(ops::Context& context, const tensor::Tensor& hidden) const {
  return head_.forward_unrounded(context, norm_.forward(context, hidden));
}

}  // namespace fathom::llama
