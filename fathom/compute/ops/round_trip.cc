#include "fathom/compute/ops/round_trip.h"

#include "fathom/compute/ops/copy.h"
#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"

namespace fathom::ops {

void round_trip(Context& context,
                const tensor::Tensor& x,
                Index row_width,
                Index num_columns,
                Index group,
                RoundTripFormat format) {
  FATHOM_CHECK(num_columns <= row_width && group > 0);
  save_if_recording(context, x);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.round_trip.run({.x = x.matrix<const Real>(row_width),
                            .out = x.matrix<Real>(row_width),
                            .num_columns = num_columns,
                            .group = group,
                            .format = format},
                           context.pool);
  });
  if (context.recorder != nullptr) [[unlikely]] {
    // Straight through: the gradient of the rounded number is taken for that of the number.
    context.recorder->record("round_trip", {x}, [](Context&, Gradients&) {});
  }
}

tensor::Tensor rounded_trip(Context& context,
                            const tensor::Tensor& x,
                            Index group,
                            RoundTripFormat format) {
  FATHOM_CHECK(group > 0);
  tensor::Tensor out = context.allocate(x.shape());
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.round_trip.run({.x = x.matrix<const Real>(),
                            .out = out.matrix<Real>(),
                            .num_columns = x.shape().last(),
                            .group = group,
                            .format = format},
                           context.pool);
  });
  if (context.recorder != nullptr) [[unlikely]] {
    record_copy(context, "rounded_trip", x, out);  // straight through
  }
  return out;
}

}  // namespace fathom::ops
