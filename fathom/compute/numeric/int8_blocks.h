// Numbers in blocks of 32 as 8-bit integers with one scale: what the numerics `fast` computes with.
//
// Activations are rounded to such blocks. Weights of many formats already are such blocks, some
// with a minimum added to every number; reading them so is exact.
#pragma once

#include <array>
#include <cstdint>

#include "fathom/compute/numeric/weight_format.h"

namespace fathom::numeric {

inline constexpr Index kInt8BlockColumns = 32;

// What the 16 values of a nibble stand for.
using NibbleCodeTable = std::array<std::int8_t, 16>;
inline constexpr NibbleCodeTable kCodesFromZero = {0, 1, 2,  3,  4,  5,  6,  7,
                                                   8, 9, 10, 11, 12, 13, 14, 15};
inline constexpr NibbleCodeTable kCodesFromMinusEight = {-8, -7, -6, -5, -4, -3, -2, -1,
                                                         0,  1,  2,  3,  4,  5,  6,  7};
inline constexpr NibbleCodeTable kTwiceE2m1Codes = {0, 1,  2,  3,  4,  6,  8,  12,
                                                    0, -1, -2, -3, -4, -6, -8, -12};

// Number i is codes[i] * scale + minimum.
struct Int8Block {
  std::int8_t codes[kInt8BlockColumns];
  float scale;
  float minimum;
};

// Whether every number of the format is an 8-bit integer times a scale, plus a minimum, that 32
// columns share.
bool has_int8_blocks(WeightFormat format) noexcept;
// Whether that minimum can differ from zero.
bool has_int8_minimum(WeightFormat format) noexcept;

// Columns [32 block, 32 block + 32) of a row, in a format that has int8 blocks: code, scale and
// minimum are those whose product and sum decode_row gives.
void read_int8_block(const WeightView& view, Index row, Index block, Int8Block& out) noexcept;

// Rounds 32 activations: scale = max |x| / 127, code = x * (127 / max |x|) to nearest, ties to
// even, in fp32. A block without a number above 1e-30 becomes zeros; one with a NaN or an infinity
// gets scale NaN and codes zero, so that every product with it is NaN. Returns the scale.
float round_to_int8_block(const float* x, std::int8_t* codes) noexcept;

inline constexpr float kSmallestInt8Block = 1e-30F;

}  // namespace fathom::numeric
