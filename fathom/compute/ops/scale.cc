#include "fathom/compute/ops/scale.h"

#include "fathom/compute/ops/kernel_table.h"

namespace fathom::ops {

void scale(Context& context, const tensor::Tensor& x, double factor) {
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.scale.run({.x = x.matrix<Real>(),
                       .factor = static_cast<float>(factor),
                       .rounding = context.rounding()},
                      context.pool);
  });
}

}  // namespace fathom::ops
