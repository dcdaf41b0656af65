#include "fathom/compute/ops/hadamard.h"

#include <bit>

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"

namespace fathom::ops {

namespace {

void transform(Context& context, const tensor::Tensor& x, Index row_width, Rounding rounding) {
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.hadamard.run({.x = x.matrix<Real>(row_width), .rounding = rounding}, context.pool);
  });
}

}  // namespace

void hadamard(Context& context, const tensor::Tensor& x, Index row_width) {
  FATHOM_CHECK(std::has_single_bit(to_size(row_width)));
  save_if_recording(context, x);
  transform(context, x, row_width, context.rounding());
  if (context.recorder != nullptr) [[unlikely]] {
    context.recorder->record("hadamard", {x}, [=](Context& back, Gradients& gradients) {
      // The matrix is symmetric.
      transform(back, gradients.of(x), row_width, Rounding::None);
    });
  }
}

}  // namespace fathom::ops
