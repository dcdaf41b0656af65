#include "fathom/compute/ops/rms_norm.h"

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {

tensor::Tensor rms_norm(Context& context,
                        const tensor::Tensor& x,
                        std::span<const float> weight,
                        double epsilon) {
  require_equal("rms_norm", "columns of x", x.shape().last(), to_index(weight.size()));
  tensor::Tensor out = context.allocate(x.shape());
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.rms_norm.run({.x = x.matrix<Real>(),
                          .weight = weight,
                          .epsilon = epsilon,
                          .rounding = context.rounding(),
                          .out = out.matrix<Real>()},
                         context.pool);
  });
  return out;
}

void head_norm(Context& context, const tensor::Tensor& x, Index head_dim, double epsilon) {
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.head_norm.run(
        {.x = x.matrix<Real>(head_dim), .epsilon = epsilon, .rounding = context.rounding()},
        context.pool);
  });
}

}  // namespace fathom::ops
