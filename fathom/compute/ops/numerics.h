// Which rounding points a forward pass applies. One choice per run, printed with every result.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <utility>

namespace fathom::ops {

enum class Numerics {
  High,      // fp32 (or double) throughout, no rounding of activations
  Official,  // the published rounding points: BF16 tensors, FP8 and FP4 round trips
  Fast,      // fp32, but what multiplies weights of 4 to 8 bits is rounded: int8 blocks, or BF16
};

inline constexpr std::array<std::pair<Numerics, std::string_view>, 3> kNumericsNames = {{
    {Numerics::High, "high"},
    {Numerics::Official, "official"},
    {Numerics::Fast, "fast"},
}};

constexpr std::string_view to_string(Numerics numerics) {
  for (const auto& [value, name] : kNumericsNames) {
    if (value == numerics) {
      return name;
    }
  }
  return "?";
}

constexpr std::optional<Numerics> numerics_from_name(std::string_view text) {
  for (const auto& [value, name] : kNumericsNames) {
    if (name == text) {
      return value;
    }
  }
  return std::nullopt;
}

// What happens to a kernel's output before it is stored.
enum class Rounding { None, Bf16 };

// What a matrix product's activations hold, and whether its sums are rounded.
enum class Products {
  Fp32,          // fp32 numbers, and so do the sums
  Bf16Operands,  // BF16 numbers; sums stay fp32
  Bf16,          // BF16 numbers, and sums are rounded to such
};

constexpr Rounding rounding_of(Products products) {
  return products == Products::Bf16 ? Rounding::Bf16 : Rounding::None;
}

constexpr Rounding bf16_if_official(Numerics numerics) {
  return numerics == Numerics::Official ? Rounding::Bf16 : Rounding::None;
}

}  // namespace fathom::ops
