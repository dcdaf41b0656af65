// The multi-token prediction block (MTP, depth 1; specification 3.9).
#pragma once

#include "fathom/model/deepseek_v4/model.h"

namespace fathom::deepseek_v4 {

class MtpBlock final : public layers::DraftModule {
 public:
  explicit MtpBlock(const DeepseekV4& model);

  const std::vector<config::CacheStream>& cache_layout() const override { return layout_; }
  tensor::Tensor forward(ops::Context& context,
                         const layers::TokenBatch& next_tokens,
                         const tensor::Tensor& hidden) const override;
  tensor::Tensor logits(ops::Context& context, const tensor::Tensor& hidden) const override;
  layers::HeadInput head_input(ops::Context& context, const tensor::Tensor& hidden) const override;

 private:
  const DeepseekV4& model_;
  std::vector<config::CacheStream> layout_;
  layers::Norm embedding_norm_;
  layers::Norm hidden_norm_;
  layers::Linear embedding_projection_;
  layers::Linear hidden_projection_;
  DecoderLayer layer_;
  Readout readout_;
};

}  // namespace fathom::deepseek_v4
