// Rows of 8-bit integers that one scale belongs to: index keys of the numerics `fast`.
//
// A row is as long as one block of activations (int8_blocks.h). In memory its codes come first,
// continued with zeros to a multiple of four, then its RoundedBlock.
#pragma once

#include <cstddef>
#include <cstring>

#include "fathom/compute/numeric/int8_blocks.h"

namespace fathom::numeric {

inline constexpr Index kInt8RowStep = 4;

// Where the scale lies behind the codes.
constexpr Index int8_row_codes(Index width) {
  return ceil_div(width, kInt8RowStep) * kInt8RowStep;
}
constexpr Index int8_row_bytes(Index width) {
  return int8_row_codes(width) + static_cast<Index>(sizeof(RoundedBlock));
}

// x  [width]   row  [int8_row_bytes(width)]
inline void write_int8_row(const float* x, Index width, std::uint8_t* row) noexcept {
  const RoundedBlock block = round_to_int8_block(x, width, row);
  std::memset(row + width, 0, to_size(int8_row_codes(width) - width));
  std::memcpy(row + int8_row_codes(width), &block, sizeof(block));
}

inline RoundedBlock block_of_int8_row(const std::uint8_t* row, Index width) noexcept {
  const std::uint8_t* at = row + int8_row_codes(width);
  const auto read = [&](auto& number, std::size_t offset) {
    std::memcpy(&number, at + offset, sizeof(number));
  };
  // One by one: a kernel that keeps them waits for a copy of the whole.
  RoundedBlock block;
  read(block.scale, offsetof(RoundedBlock, scale));
  read(block.zero, offsetof(RoundedBlock, zero));
  read(block.sum, offsetof(RoundedBlock, sum));
  return block;
}

}  // namespace fathom::numeric
