#include "fathom/model/layers/gated_mlp.h"

#include "fathom/compute/ops/swiglu.h"

namespace fathom::layers {

tensor::Tensor GatedMlp::forward(ops::Context& context, const tensor::Tensor& x) const {
  const tensor::Tensor gate = gate_.forward(context, x);
  const tensor::Tensor up = up_.forward(context, x);
  ops::swiglu(context, gate, up, {}, limit_);
  return down_.forward(context, gate);
}

}  // namespace fathom::layers
