// DeepSeek-V4: embedding, decoder layers, head, and the multi-token prediction block.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "fathom/model/deepseek_v4/decoder_layer.h"
#include "fathom/model/layers/causal_lm.h"

namespace fathom::deepseek_v4 {

// Rotation frequencies of both kinds of layers: those with and without compressed rows.
class RopeKinds {
 public:
  explicit RopeKinds(const config::ModelConfig& config);
  const ops::RopeFrequencies& of(const config::LayerConfig& layer) const;

  // The step as a layer of each kind sees it.
  struct Steps {
    Step window;
    Step compressed;
    const Step& of(const config::LayerConfig& layer) const;
  };
  Steps steps(ops::Context& context, const layers::TokenBatch& batch) const;

 private:
  ops::RopeFrequencies window_;
  ops::RopeFrequencies compressed_;
};

// Final norm and shared head over collapsed streams; the MTP block has its own collapse and norm.
class Readout {
 public:
  Readout(const weights::Store& store,
          const config::ModelConfig& config,
          config::Block block,
          Index layer_idx);
  // What the head multiplies, [T, D].
  tensor::Tensor forward(ops::Context& context, const tensor::Tensor& streams) const;
  tensor::Tensor forward(ops::Context& context,
                         const tensor::Tensor& streams,
                         const layers::Linear& head) const;  // [T, V]

 private:
  layers::HyperHead collapse_;
  layers::Norm norm_;
};

class MtpBlock;

class DeepseekV4 final : public layers::CausalLm {
 public:
  // Throws InvalidCheckpoint naming the first tensor that is missing.
  DeepseekV4(std::shared_ptr<const weights::Store> store, config::ModelConfig config);
  ~DeepseekV4() override;

  const config::ModelConfig& config() const override { return config_; }
  const std::vector<config::CacheStream>& cache_layout() const override { return layout_; }
  // Returns the streams [T, N, D] after the last layer.
  tensor::Tensor forward(ops::Context& context, const layers::TokenBatch& batch) const override;
  tensor::Tensor logits(ops::Context& context, const tensor::Tensor& streams) const override;
  layers::HeadInput head_input(ops::Context& context, const tensor::Tensor& streams) const override;
  const layers::DraftModule* draft() const override;

  // One layer alone, for tests that feed it its official input: streams [T, N, D], in place.
  void forward_layer(ops::Context& context,
                     const layers::TokenBatch& batch,
                     Index layer_idx,
                     const tensor::Tensor& streams) const;

 private:
  friend class MtpBlock;
  std::shared_ptr<const weights::Store> store_;
  config::ModelConfig config_;
  std::vector<config::CacheStream> layout_;
  RopeKinds rope_;
  layers::Weight embedding_;
  std::vector<DecoderLayer> layers_;
  Readout readout_;
  layers::Linear head_;
  std::unique_ptr<MtpBlock> mtp_;
};

}  // namespace fathom::deepseek_v4
