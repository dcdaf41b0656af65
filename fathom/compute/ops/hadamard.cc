#include "fathom/compute/ops/hadamard.h"

#include <bit>

#include "fathom/compute/ops/kernel_table.h"

namespace fathom::ops {

void hadamard(Context& context, const tensor::Tensor& x, Index row_width) {
  FATHOM_CHECK(std::has_single_bit(to_size(row_width)));
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.hadamard.run({.x = x.matrix<Real>(row_width), .rounding = context.rounding()},
                         context.pool);
  });
}

}  // namespace fathom::ops
