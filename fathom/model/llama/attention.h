// Attention of one layer: query heads in groups that share a head of keys and values.
#pragma once

#include "fathom/model/layers/linear.h"
#include "fathom/model/layers/step.h"

namespace fathom::llama {

class Attention {
 public:
  explicit Attention(const layers::LayerPlace& place);

  // x [T, D], the normed input, to [T, D]. Appends the step's rows to the segments' caches.
  tensor::Tensor forward(ops::Context& context,
                         const layers::Step& step,
                         const tensor::Tensor& x) const;

 private:
  void append_rows(const layers::Step& step,
                   const tensor::Tensor& keys,
                   const tensor::Tensor& values) const;
  void attend(ops::Context& context,
              const layers::Step& step,
              const tensor::Tensor& queries,
              const tensor::Tensor& out) const;

  Index num_heads_;
  Index head_dim_;
  ops::RopePairs pairs_;
  Index key_stream_;
  Index value_stream_;
  layers::Linear query_;
  layers::Linear key_;
  layers::Linear value_;
  layers::Linear output_;
};

}  // namespace fathom::llama
