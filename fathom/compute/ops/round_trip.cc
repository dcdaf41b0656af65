#include "fathom/compute/ops/round_trip.h"

#include "fathom/compute/ops/kernel_table.h"

namespace fathom::ops {

void round_trip(Context& context,
                const tensor::Tensor& x,
                Index row_width,
                Index num_columns,
                Index group,
                RoundTripFormat format) {
  FATHOM_CHECK(num_columns <= row_width && group > 0);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.round_trip.run({.x = x.matrix<Real>(row_width),
                            .num_columns = num_columns,
                            .group = group,
                            .format = format},
                           context.pool);
  });
}

}  // namespace fathom::ops
