#include "fathom/model/layers/gated_mlp.h"

#include "fathom/compute/ops/swiglu.h"

namespace fathom::layers {

tensor::Tensor GatedMlp::forward(ops::Context& context, const tensor::Tensor& x) const {
  return forward(context, gate_.input(context, x));
}

tensor::Tensor GatedMlp::forward(ops::Context& context, const ops::LinearInput& input) const {
  const auto [gate, up] = forward_together(context, input, gate_, up_);
  ops::swiglu(context, gate, up, {}, limit_);
  return down_.forward(context, gate);
}

}  // namespace fathom::layers
