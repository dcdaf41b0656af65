#include "fathom/compute/ops/scale.h"

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"

namespace fathom::ops {

namespace {

void multiply(Context& context, const tensor::Tensor& x, double factor, Rounding rounding) {
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.scale.run(
        {.x = x.matrix<Real>(), .factor = static_cast<float>(factor), .rounding = rounding},
        context.pool);
  });
}

}  // namespace

void scale(Context& context, const tensor::Tensor& x, double factor) {
  save_if_recording(context, x);
  multiply(context, x, factor, context.rounding());
  if (context.recorder != nullptr) [[unlikely]] {
    context.recorder->record("scale", {x}, [=](Context& back, Gradients& gradients) {
      multiply(back, gradients.of(x), factor, Rounding::None);
    });
  }
}

}  // namespace fathom::ops
