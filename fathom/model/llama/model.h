// Llama: embedding, decoder layers, norm and head.
#pragma once

#include <memory>
#include <vector>

#include "fathom/model/layers/causal_lm.h"
#include "fathom/model/llama/decoder_layer.h"

namespace fathom::llama {

class Llama final : public layers::CausalLm {
 public:
  // Throws InvalidCheckpoint naming the first tensor that is missing.
  Llama(std::shared_ptr<const weights::Store> store, config::ModelConfig config);

  const config::ModelConfig& config() const override { return config_; }
  const std::vector<config::CacheStream>& cache_layout() const override { return layout_; }
  // Returns the hidden states [T, D] after the last layer.
  tensor::Tensor forward(ops::Context& context, const layers::TokenBatch& batch) const override;
  tensor::Tensor logits(ops::Context& context, const tensor::Tensor& hidden) const override;
  layers::HeadInput head_input(ops::Context& context, const tensor::Tensor& hidden) const override;
  const layers::DraftModule* draft() const override { return nullptr; }

 private:
  std::shared_ptr<const weights::Store> store_;
  config::ModelConfig config_;
  std::vector<config::CacheStream> layout_;
  ops::RopeFrequencies frequencies_;  // of all layers
  layers::Weight embedding_;
  std::vector<DecoderLayer> layers_;
  layers::Norm norm_;
  layers::Linear head_;
};

}  // namespace fathom::llama
