// Rows of 16-bit integers that one scale belongs to: index keys of the numerics `fast`.
//
// In memory a row's codes come first, continued with zeros to an even number, then its scale. Codes
// are at most 2,047, so that 32-bit integers hold the product of two rows of kMostInt16RowNumbers.
#pragma once

#include <cstdint>
#include <cstring>

#include "fathom/base/core/index.h"

namespace fathom::numeric {

inline constexpr Index kInt16RowStep = 2;
inline constexpr float kLargestRowCode = 2047.0F;
inline constexpr Index kMostInt16RowNumbers = 512;
inline constexpr float kSmallestRowNumber = 1e-30F;

// Codes with those that are added, and what they and the scale take.
constexpr Index int16_row_codes(Index width) {
  return ceil_div(width, kInt16RowStep) * kInt16RowStep;
}
constexpr Index int16_row_bytes(Index width) {
  return int16_row_codes(width) * static_cast<Index>(sizeof(std::int16_t)) +
         static_cast<Index>(sizeof(float));
}

// Rounds numbers to multiples k of a scale, in fp32: with m = max |x|, scale = m / 2047 and k = x *
// (2047 / m) to nearest, ties to even. Returns the scale. Where m is at most 1e-30 it and the codes
// are 0; where a number is a NaN or infinite it is NaN, so that every product with the row is.
float round_to_int16_row(const float* x, Index width, std::int16_t* codes) noexcept;

// x  [width]   row  [int16_row_bytes(width)]
void write_int16_row(const float* x, Index width, std::int16_t* row) noexcept;
inline float scale_of_int16_row(const std::int16_t* row, Index width) noexcept {
  float scale;
  std::memcpy(&scale, row + int16_row_codes(width), sizeof(scale));
  return scale;
}

}  // namespace fathom::numeric
