// Element types of activations and of cache rows. Weights have formats of their own
// (numeric/weight_format.h).
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "fathom/base/core/index.h"
#include "fathom/compute/numeric/int16_rows.h"

namespace fathom::tensor {

enum class DType {
  F32,
  F64,
  I32,
  BF16,
  Int16Row,  // of a cache alone: codes and scale (numeric/int16_rows.h)
};

constexpr Index element_bytes(DType dtype) {
  switch (dtype) {
    case DType::F64:
      return 8;
    case DType::BF16:
    case DType::Int16Row:
      return 2;
    default:
      return 4;
  }
}

// Bytes of a row of `width` numbers.
constexpr Index row_bytes(DType dtype, Index width) {
  return dtype == DType::Int16Row ? numeric::int16_row_bytes(width) : width * element_bytes(dtype);
}

constexpr std::string_view to_string(DType dtype) {
  switch (dtype) {
    case DType::F32:
      return "f32";
    case DType::F64:
      return "f64";
    case DType::I32:
      return "i32";
    case DType::BF16:
      return "bf16";
    case DType::Int16Row:
      return "int16_row";
  }
  return "?";
}

template <typename T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, double>) {
    return DType::F64;
  } else if constexpr (std::is_same_v<T, std::int32_t>) {
    return DType::I32;
  } else if constexpr (std::is_same_v<T, std::uint16_t>) {
    return DType::BF16;  // its bits
  } else if constexpr (std::is_same_v<T, std::int16_t>) {
    return DType::Int16Row;
  } else {
    static_assert(std::is_same_v<T, float>);
    return DType::F32;
  }
}

}  // namespace fathom::tensor
