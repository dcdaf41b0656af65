// Numbers in blocks of 32 as 8-bit integers with one scale: what the numerics `fast` computes with.
//
// Activations are rounded to such blocks, unsigned ones that count from the block's smallest
// number. Weights of many formats already are such blocks, signed ones, some with a minimum added
// to every number; reading them so is exact.
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

// Activations as 8-bit integers: number i is (codes[i] - zero) * scale.
struct RoundedBlock {
  float scale;
  std::int32_t zero;  // 0 to 252
  std::int32_t sum;   // of the codes minus zero
};

// Rounds `count` activations to multiples k of a scale, in fp32: with a = min(0, min x) and b =
// max(0, max x), scale = (b - a) / 252 and k = x * (252 / (b - a)) to nearest, ties to even. `zero`
// is minus the k of a, the codes are k + zero. So zero is exact, which matters where most of a
// block is zero, and every product of a block is an integer times a scale. A block of numbers that
// reach from zero at most 1e-30 far has scale, codes and `zero` 0; one with a NaN, an infinity or a
// range beyond fp32 gets scale NaN, so that every product with it is NaN.
RoundedBlock round_to_int8_block(const float* x, Index count, std::uint8_t* codes) noexcept;

// Steps between the smallest and the largest number of a block. 254 is the most that fits, as both
// ends are rounded; a few less are no worse (docs/numerics.md).
inline constexpr float kInt8CodeRange = 252.0F;
inline constexpr float kSmallestInt8Range = 1e-30F;

}  // namespace fathom::numeric
