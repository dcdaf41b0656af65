// Scalar encode and decode of the number formats of DeepSeek-V4: BF16, FP16, E4M3FN, E8M0, E2M1.
//
// Rounding is to nearest, ties to even, everywhere. Source: architecture specification 2.2 and 3.8.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace fathom::numeric {

inline float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// NaN stays NaN (quiet). Without a branch: compilers make vectors of it.
inline std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const bool is_nan = (bits & 0x7fffffffU) > 0x7f800000U;
  const std::uint32_t rounded = bits + 0x7fffU + ((bits >> 16) & 1U);
  return static_cast<std::uint16_t>((is_nan ? bits | 0x400000U : rounded) >> 16);
}

// The BF16 value nearest to x. From double it rounds once.
inline float round_bf16(float value) {
  return bf16_to_float(float_to_bf16(value));
}
double round_bf16(double value);

// Here because kernels decode a block's scale with it.
inline float f16_to_float(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16;
  const std::uint32_t magnitude = bits & 0x7fffU;
  if (magnitude < 0x400U) {  // zero and subnormal numbers: units of 2^-24
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
  }
  const std::uint32_t rebias = magnitude >= 0x7c00U ? (255U - 31U) << 23 : (127U - 15U) << 23;
  return std::bit_cast<float>(sign | ((magnitude << 13) + rebias));
}
std::uint16_t float_to_f16(float value);

// E4M3FN: 1-4-3, bias 7, largest 448, no infinity, 0x7f and 0xff are NaN.
float e4m3_to_float(std::uint8_t bits);
// |value| above 448 becomes 448 (callers clamp); NaN becomes 0x7f.
std::uint8_t float_to_e4m3(float value);

// 2^(bits - 127); 0 is 2^-127, 255 is NaN.
inline float e8m0_to_float(std::uint8_t bits) {
  if (bits == 255) {
    return std::bit_cast<float>(0x7fc00000U);
  }
  return std::bit_cast<float>(bits == 0 ? 0x00400000U : static_cast<std::uint32_t>(bits) << 23);
}

// Half the scale of a block of ggml's MXFP4, as ggml reads it: 255 is a number there.
inline float mxfp4_half_scale(std::uint8_t bits) {
  return std::bit_cast<float>(bits < 2 ? 0x00200000U << bits
                                       : (static_cast<std::uint32_t>(bits) - 1) << 23);
}

// E2M1 codes 0..15: 0, 0.5, 1, 1.5, 2, 3, 4, 6; bit 3 is the sign.
inline constexpr float kE2m1Values[16] = {0.0F,  0.5F,  1.0F,  1.5F,  2.0F,  3.0F,  4.0F,  6.0F,
                                          -0.0F, -0.5F, -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F};
// |value| above 6 becomes 6.
std::uint8_t float_to_e2m1(float value);

// ceil(log2(value)) of a positive finite float, from its bits: exact.
inline int ceil_log2(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<int>((bits >> 23) & 0xffU) - 127 + ((bits & 0x7fffffU) != 0 ? 1 : 0);
}

// The scale of a group whose largest magnitude is `largest`: the power of two 2^ceil(log2(largest *
// (1 / limit))), in fp32 with the reciprocal rounded first (specification 3.8).
float e4m3_group_scale(float largest);  // largest is raised to 1e-4
float e2m1_group_scale(float largest);  // largest is raised to 6 * 2^-126

}  // namespace fathom::numeric
