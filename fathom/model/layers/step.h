// What all layers of one step share, and where the parts of one layer lie.
#pragma once

#include <vector>

#include "fathom/compute/ops/rope.h"
#include "fathom/model/layers/causal_lm.h"
#include "fathom/model/weights/store.h"

namespace fathom::layers {

// The batch and the rotation of its positions, in one kind of layer.
struct Step {
  const TokenBatch& batch;
  tensor::Tensor cos_sin;  // [T, R], by the layer's frequencies
};

// Which of ops::TrainingTerms::layers a layer reports to.
inline Index training_layer(const config::ModelConfig& config,
                            config::Block block,
                            Index layer_idx) {
  return block == config::Block::Mtp ? config.num_layers() + layer_idx : layer_idx;
}

// A layer's config, its weights, its cache streams.
struct LayerPlace {
  const weights::Store& store;
  const config::ModelConfig& config;
  const config::LayerConfig& layer;
  config::Block block;
  Index layer_idx;
  const std::vector<config::CacheStream>& layout;
  const ops::RopeFrequencies& frequencies;

  config::WeightKey key(config::WeightRole role) const { return {role, block, layer_idx}; }
  Index stream(config::StreamKind kind) const {
    return config::find_stream(layout, layer_idx, kind);
  }
};

}  // namespace fathom::layers
