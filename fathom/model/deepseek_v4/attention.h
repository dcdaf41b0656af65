// Attention of one layer, all three kinds (specification 3.3).
#pragma once

#include <memory>
#include <span>

#include "fathom/model/deepseek_v4/compressed_context.h"

namespace fathom::deepseek_v4 {

class Attention {
 public:
  explicit Attention(const LayerPlace& place);

  // x [T, D], the normed input, to [T, D]. Appends the step's rows to the segments' caches.
  tensor::Tensor forward(ops::Context& context, const Step& step, const tensor::Tensor& x) const;

 private:
  tensor::Tensor queries(ops::Context& context,
                         const Step& step,
                         const ops::LinearInput& latent) const;
  void append_window_rows(ops::Context& context,
                          const Step& step,
                          const tensor::Tensor& key_value) const;
  void attend(ops::Context& context,
              const Step& step,
              const QueryInputs& inputs,
              const tensor::Tensor& queries,
              const tensor::Tensor& out) const;
  tensor::Tensor project_output(ops::Context& context, const tensor::Tensor& attended) const;

  Index num_heads_;
  Index head_dim_;
  Index rope_dim_;
  Index window_;
  Index num_output_groups_;
  double norm_epsilon_;
  Index window_stream_;
  layers::Linear query_down_;
  layers::Norm query_norm_;
  layers::Linear query_up_;
  layers::Linear key_value_;
  layers::Norm key_value_norm_;
  layers::Linear output_down_;
  layers::Linear output_up_;
  std::span<const float> sink_;
  std::unique_ptr<CompressedContext> compressed_;  // null: the window is all
};

}  // namespace fathom::deepseek_v4
