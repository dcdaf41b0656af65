#include "fathom/compute/numeric/small_floats.h"

#include <algorithm>
#include <array>
#include <limits>

namespace fathom::numeric {
namespace {

constexpr std::uint32_t kInfinityBits = 0x7f800000U;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

constexpr float decode_e4m3(unsigned code) {
  const unsigned exponent = code >> 3 & 15U;
  const unsigned mantissa = code & 7U;
  if (exponent == 15 && mantissa == 7) {
    return kNan;
  }
  float magnitude = 0;
  if (exponent == 0) {
    magnitude = static_cast<float>(mantissa) / 512.0F;
  } else {
    magnitude = std::bit_cast<float>((exponent + 127 - 7) << 23 | mantissa << 20);
  }
  return (code & 0x80U) != 0 ? -magnitude : magnitude;
}

constexpr std::array<float, 256> kE4m3Values = [] {
  std::array<float, 256> values{};
  for (unsigned code = 0; code < 256; ++code) {
    values[code] = decode_e4m3(code);
  }
  return values;
}();

// The integer nearest to value / 2^exponent, ties to even, where the quotient is below 2^23:
// adding and taking away 1.5 * 2^23 leaves only the integer bits. The division is exact.
int round_to_grid(float value, int exponent) {
  constexpr float kShift = 12582912.0F;
  const float quotient =
      value * std::bit_cast<float>(static_cast<std::uint32_t>(127 - exponent) << 23);
  const float shifted = quotient + kShift;
  return static_cast<int>(shifted - kShift);
}

int exponent_of(float value) {
  return static_cast<int>(std::bit_cast<std::uint32_t>(value) >> 23 & 0xffU) - 127;
}

// 2^ceil(log2(value)) of a positive value; NaN and infinity stay what they are.
float raise_to_power_of_two(float value) {
  if (!(value <= std::numeric_limits<float>::max())) {
    return value;
  }
  const int exponent = ceil_log2(value);
  return exponent > 127 ? std::numeric_limits<float>::infinity()
                        : std::bit_cast<float>(static_cast<std::uint32_t>(exponent + 127) << 23);
}

}  // namespace

double round_bf16(double value) {
  // Through fp32 rounded to odd: of the two neighbours the one with an odd last bit keeps what the
  // second rounding needs to know, so that the two together round once.
  const auto nearest = static_cast<float>(value);
  auto bits = std::bit_cast<std::uint32_t>(nearest);
  const auto widened = static_cast<double>(nearest);
  if (widened < value || widened > value) {
    if ((bits & 1U) == 0) {
      bits = std::abs(widened) > std::abs(value) ? bits - 1 : bits + 1;
    }
  }
  return static_cast<double>(round_bf16(std::bit_cast<float>(bits)));
}

std::uint16_t float_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > kInfinityBits) {
    return static_cast<std::uint16_t>(sign | 0x7e00U | (magnitude >> 13 & 0x3ffU));
  }
  if (magnitude >= 0x477ff000U) {  // 65520 and above round to infinity
    return static_cast<std::uint16_t>(sign | 0x7c00U);
  }
  if (magnitude < 0x38800000U) {  // below 2^-14: a multiple of 2^-24
    return static_cast<std::uint16_t>(
        sign | static_cast<std::uint32_t>(round_to_grid(std::bit_cast<float>(magnitude), -24)));
  }
  const std::uint32_t rounded = magnitude + 0xfffU + (magnitude >> 13 & 1U);
  return static_cast<std::uint16_t>(sign | ((rounded >> 13) - ((127U - 15U) << 10)));
}

float e4m3_to_float(std::uint8_t bits) {
  return kE4m3Values[bits];
}

std::uint8_t float_to_e4m3(float value) {
  if (std::isnan(value)) {
    return 0x7f;
  }
  const unsigned sign = std::signbit(value) ? 0x80U : 0U;
  const float magnitude = std::min(std::abs(value), 448.0F);
  // Three bits behind the leading one; from 2^-6 down the spacing stays 2^-9.
  const int exponent = std::max(exponent_of(magnitude), -6);
  const int steps = round_to_grid(magnitude, exponent - 3);
  // With s steps the code is (exponent + 6) * 8 + s; s of 16 is the next exponent's first code.
  return static_cast<std::uint8_t>(sign | static_cast<unsigned>((exponent + 6) * 8 + steps));
}

std::uint8_t float_to_e2m1(float value) {
  const unsigned sign = std::signbit(value) ? 8U : 0U;
  const float magnitude = std::abs(value) < 6.0F ? std::abs(value) : 6.0F;
  const int exponent = std::max(exponent_of(magnitude), 0);
  const int steps = round_to_grid(magnitude, exponent - 1);
  return static_cast<std::uint8_t>(sign | static_cast<unsigned>(exponent * 2 + steps));
}

float e4m3_group_scale(float largest) {
  constexpr float kReciprocal = 1.0F / 448.0F;
  return raise_to_power_of_two((largest < 1e-4F ? 1e-4F : largest) * kReciprocal);
}

float e2m1_group_scale(float largest) {
  constexpr float kReciprocal = 1.0F / 6.0F;
  constexpr float kLeast = 6.0F * 0x1p-126F;
  return raise_to_power_of_two((largest < kLeast ? kLeast : largest) * kReciprocal);
}

}  // namespace fathom::numeric
