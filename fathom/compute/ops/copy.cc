#include "fathom/compute/ops/copy.h"

#include <cstring>

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {

void record_copy(Context& context,
                 std::string_view op,
                 const tensor::Tensor& from,
                 const tensor::Tensor& to) {
  context.recorder->record(op, {to}, [=](Context& back, Gradients& gradients) {
    with_kernels(back, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      // What streams do that all have the same number added.
      const auto d_from = gradients.of(from).template matrix<Real>();
      kernels.training.add_to_streams_backward.run(
          {.d_each = gradients.of(to).template matrix<const Real>(d_from.columns),
           .d_shared = d_from},
          back.pool);
    });
  });
}

void copy(Context& context, const tensor::Tensor& from, const tensor::Tensor& to) {
  FATHOM_CHECK(from.dtype() == to.dtype() && from.num_elements() == to.num_elements());
  std::memcpy(to.raw(), from.raw(), to_size(from.num_bytes()));
  if (context.recorder != nullptr) [[unlikely]] {
    record_copy(context, "copy", from, to);
  }
}

void repeat_rows(Context& context, const tensor::Tensor& from, const tensor::Tensor& to) {
  FATHOM_CHECK(from.dtype() == to.dtype());
  require_shape("repeat_rows", "to", to, {from.dim(0), to.dim(1), from.dim(1)});
  const Index row_bytes = from.dim(1) * tensor::element_bytes(from.dtype());
  const auto* source = static_cast<const std::byte*>(from.raw());
  auto* target = static_cast<std::byte*>(to.raw());
  for (Index row = 0; row < from.dim(0); ++row) {
    for (Index copy_idx = 0; copy_idx < to.dim(1); ++copy_idx) {
      std::memcpy(target, source + row * row_bytes, to_size(row_bytes));
      target += row_bytes;
    }
  }
  if (context.recorder != nullptr) [[unlikely]] {
    record_copy(context, "repeat_rows", from, to);
  }
}

}  // namespace fathom::ops
