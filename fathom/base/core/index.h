// The signed 64-bit type of every count and index, and checked arithmetic on untrusted sizes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace fathom {

using Index = std::int64_t;

// a * b, or nothing when it overflows or a factor is negative.
inline std::optional<Index> checked_multiply(Index a, Index b) {
  Index product = 0;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product)) {
    return std::nullopt;
  }
  return product;
}

// a + b, or nothing when it overflows or a term is negative.
inline std::optional<Index> checked_add(Index a, Index b) {
  Index sum = 0;
  if (a < 0 || b < 0 || __builtin_add_overflow(a, b, &sum)) {
    return std::nullopt;
  }
  return sum;
}

constexpr Index ceil_div(Index a, Index b) {
  return (a + b - 1) / b;
}

// Sizes of memory are unsigned in the standard library and signed in Fathom.
constexpr std::size_t to_size(Index value) {
  return static_cast<std::size_t>(value);
}
constexpr Index to_index(std::size_t value) {
  return static_cast<Index>(value);
}

}  // namespace fathom
