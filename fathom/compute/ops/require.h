// Shape checks of ops, and the small things their implementations share.
#pragma once

#include <span>
#include <string_view>

#include "fathom/compute/numeric/weight_format.h"
#include "fathom/compute/tensor/tensor.h"

namespace fathom::ops {

// A wrong shape here is a bug of the caller: checkpoints and requests were validated before.
inline void require_shape(std::string_view op,
                          std::string_view operand,
                          const tensor::Tensor& tensor,
                          const tensor::Shape& expected) {
  if (tensor.shape() != expected) {
    fail(ErrorCode::Internal, op, ": ", operand, " has shape ", tensor::to_string(tensor.shape()),
         ", expected ", tensor::to_string(expected));
  }
}

inline void require_equal(std::string_view op, std::string_view what, Index found, Index expected) {
  if (found != expected) {
    fail(ErrorCode::Internal, op, ": ", what, " is ", found, ", expected ", expected);
  }
}

inline std::span<const std::int32_t> int_span(const tensor::Tensor& tensor) {
  return {tensor.data<std::int32_t>(), to_size(tensor.num_elements())};
}

}  // namespace fathom::ops
