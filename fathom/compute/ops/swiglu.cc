#include "fathom/compute/ops/swiglu.h"

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {

void swiglu(Context& context,
            const tensor::Tensor& gate,
            const tensor::Tensor& up,
            const tensor::Tensor& weight,
            double limit) {
  require_shape("swiglu", "up", up, gate.shape());
  if (!weight.is_empty()) {
    require_equal("swiglu", "weights", weight.num_elements(), gate.dim(0));
  }
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.swiglu.run({.gate = gate.matrix<Real>(),
                        .up = up.matrix<Real>(),
                        .weight = weight.is_empty() ? nullptr : weight.data<const Real>(),
                        .limit = limit,
                        .rounding = context.rounding(),
                        .out = gate.matrix<Real>()},
                       context.pool);
  });
}

}  // namespace fathom::ops
