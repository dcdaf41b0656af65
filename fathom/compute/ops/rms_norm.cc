#include "fathom/compute/ops/rms_norm.h"

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {
namespace {

void record_rms_norm(Context& context,
                     const tensor::Tensor& x,
                     std::span<const float> weight,
                     double epsilon,
                     const tensor::Tensor& out) {
  context.recorder->record("rms_norm", {out}, [=](Context& back, Gradients& gradients) {
    with_kernels(back, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      using Args = RmsNormBackwardArgs<Real>;
      const tensor::Tensor d_weight = gradients.of(weight);
      const auto rows = x.matrix<Real>();
      const auto sums = d_weight.is_empty()
                            ? tensor::Tensor()
                            : back.allocate({Args::num_tiles(rows.rows), rows.columns});
      kernels.training.rms_norm_backward.run({.x = rows,
                                              .weight = weight,
                                              .epsilon = epsilon,
                                              .d_out = gradients.of(out).matrix<Real>(),
                                              .d_x = gradients.of(x).matrix<Real>(),
                                              .d_weight = data_or_none<Real>(d_weight),
                                              .sums = matrix_or_none<Real>(sums)},
                                             back.pool);
    });
  });
}

void record_head_norm(Context& context,
                      const tensor::Tensor& x,
                      const tensor::Tensor& x_before,
                      Index head_dim,
                      double epsilon) {
  context.recorder->record("head_norm", {x}, [=](Context& back, Gradients& gradients) {
    with_kernels(back, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      kernels.training.head_norm_backward.run({.x = x_before.matrix<Real>(head_dim),
                                               .epsilon = epsilon,
                                               .d_x = gradients.of(x).matrix<Real>(head_dim)},
                                              back.pool);
    });
  });
}

}  // namespace

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
  if (context.recorder != nullptr) [[unlikely]] {
    record_rms_norm(context, x, weight, epsilon, out);
  }
  return out;
}

void head_norm(Context& context, const tensor::Tensor& x, Index head_dim, double epsilon) {
  const tensor::Tensor x_before = save_if_recording(context, x);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.head_norm.run(
        {.x = x.matrix<Real>(head_dim), .epsilon = epsilon, .rounding = context.rounding()},
        context.pool);
  });
  if (context.recorder != nullptr) [[unlikely]] {
    record_head_norm(context, x, x_before, head_dim, epsilon);
  }
}

}  // namespace fathom::ops
