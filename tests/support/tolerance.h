// How far a result in fp32 may be from the same formula in double: one place, with the reasoning.
//
// Every limit is k * eps * sqrt(n) * magnitude: n roundings, each of at most eps / 2 of the numbers
// that are added, with signs that do not conspire, add up like a random walk. `magnitude` is the
// size of the intermediate results, not of the final one: what cancels leaves its error behind.
// k = 4 covers the walks of some million numbers per run (4 sigma) and leaves nothing for a wrong
// or missing term: that is of the order of magnitude / sqrt(n), a million times as large.
#pragma once

#include <cmath>
#include <limits>

#include "fathom/base/core/index.h"

namespace fathom::testing {

inline constexpr double kFloatEps = 0x1p-23;
inline constexpr double kSafety = 4;

// n roundings of numbers of the size `magnitude`. For a sum of products the magnitude is the root
// of the sum of their squares, which bounds what partial sums of random signs come to.
inline double rounding_limit(Index n, double magnitude) {
  return kSafety * kFloatEps * std::sqrt(static_cast<double>(n)) * magnitude;
}

// exp(x) of an x that itself is known to `exponent_error` only: a relative error. The function adds
// a few roundings of its own, and the reduction of its argument one of |x| * eps.
inline double exp_relative_limit(double exponent, double exponent_error) {
  return exponent_error + rounding_limit(4, 1) + kSafety * kFloatEps * std::abs(exponent);
}

// A result may fall on the other side of a border between two BF16 numbers, one step of at most
// 2^-7 of its size away, once for every point where the op rounds.
inline double bf16_limit(int num_roundings, double magnitude) {
  return 0x1p-7 * num_roundings * std::abs(magnitude);
}

// Where fp32 has only subnormal numbers left, or none.
inline double underflow_limit(double factor) {
  return static_cast<double>(std::numeric_limits<float>::min()) * (1 + std::abs(factor));
}

}  // namespace fathom::testing
