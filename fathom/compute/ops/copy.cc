#include "fathom/compute/ops/copy.h"

#include <cstring>

#include "fathom/compute/ops/require.h"

namespace fathom::ops {

void copy(const tensor::Tensor& from, const tensor::Tensor& to) {
  FATHOM_CHECK(from.dtype() == to.dtype() && from.num_elements() == to.num_elements());
  std::memcpy(to.raw(), from.raw(), to_size(from.num_bytes()));
}

void repeat_rows(const tensor::Tensor& from, const tensor::Tensor& to) {
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
}

}  // namespace fathom::ops
