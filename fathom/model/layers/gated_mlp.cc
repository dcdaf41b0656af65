#include "fathom/model/layers/gated_mlp.h"

#include "fathom/compute/ops/swiglu.h"

namespace fathom::layers {

tensor::Tensor GatedMlp::forward(ops::Context& context, const tensor::Tensor& x) const {
  return forward(context, gate_.input(context, x));
}

tensor::Tensor GatedMlp::forward(ops::Context& context, const ops::LinearInput& input) const {
  const tensor::Tensor gate = gate_.forward(context, input);
  const tensor::Tensor up = up_.forward(context, input);
  ops::swiglu(context, gate, up, {}, limit_);
  return down_.forward(context, gate);
}

}  // namespace fathom::layers
