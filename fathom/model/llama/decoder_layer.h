// One decoder layer: attention and MLP, each added to the residual stream.
#pragma once

#include "fathom/model/layers/gated_mlp.h"
#include "fathom/model/layers/norm.h"
#include "fathom/model/llama/attention.h"

namespace fathom::llama {

class DecoderLayer {
 public:
  explicit DecoderLayer(const layers::LayerPlace& place);

  // hidden [T, D], in place.
  void forward(ops::Context& context, const layers::Step& step, const tensor::Tensor& hidden) const;

 private:
  Index layer_idx_;
  layers::Norm attention_norm_;
  Attention attention_;
  layers::Norm mlp_norm_;
  layers::GatedMlp mlp_;
};

}  // namespace fathom::llama
