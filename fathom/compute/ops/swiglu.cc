#include "fathom/compute/ops/swiglu.h"

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {
namespace {

void record_swiglu(Context& context,
                   const tensor::Tensor& gate,
                   const tensor::Tensor& gate_before,
                   const tensor::Tensor& up,
                   const tensor::Tensor& weight,
                   double limit) {
  context.recorder->record("swiglu", {gate}, [=](Context& back, Gradients& gradients) {
    with_kernels(back, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      const bool is_weighted = !weight.is_empty();
      kernels.training.swiglu_backward.run(
          {.gate = gate_before.matrix<Real>(),
           .up = up.matrix<Real>(),
           .weight = is_weighted ? weight.data<const Real>() : nullptr,
           .limit = limit,
           .d_gate = gradients.of(gate).matrix<Real>(),
           .d_up = gradients.of(up).matrix<Real>(),
           .d_weight = is_weighted ? gradients.of(weight).data<Real>() : nullptr},
          back.pool);
    });
  });
}

}  // namespace

void swiglu(Context& context,
            const tensor::Tensor& gate,
            const tensor::Tensor& up,
            const tensor::Tensor& weight,
            double limit) {
  require_shape("swiglu", "up", up, gate.shape());
  if (!weight.is_empty()) {
    require_equal("swiglu", "weights", weight.num_elements(), gate.dim(0));
  }
  const tensor::Tensor gate_before = save_if_recording(context, gate);
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
  if (context.recorder != nullptr) [[unlikely]] {
    record_swiglu(context, gate, gate_before, up, weight, limit);
  }
}

}  // namespace fathom::ops
