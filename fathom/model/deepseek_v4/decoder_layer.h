// One decoder layer: attention and experts, each wrapped by a hyper-connection.
#pragma once

#include "fathom/model/deepseek_v4/attention.h"
#include "fathom/model/layers/experts.h"
#include "fathom/model/layers/hyper_connection.h"

namespace fathom::deepseek_v4 {

class DecoderLayer {
 public:
  explicit DecoderLayer(const LayerPlace& place);

  // streams [T, N, D], in place.
  void forward(ops::Context& context, const Step& step, const tensor::Tensor& streams) const;

 private:
  Index layer_idx_;
  layers::HyperConnection attention_connection_;
  layers::Norm attention_norm_;
  Attention attention_;
  layers::HyperConnection expert_connection_;
  layers::Norm feed_forward_norm_;
  layers::Experts experts_;
};

}  // namespace fathom::deepseek_v4
