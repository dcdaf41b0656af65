#include "fathom/study/plan/distribution.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "fathom/base/core/error.h"

namespace fathom::plan {
namespace {

constexpr double kZ90 = 1.2815515655446004;  // normal_quantile(0.9)

double polynomial(std::span<const double> coefficients, double x) {
  double sum = 0;
  for (const double coefficient : coefficients) {
    sum = sum * x + coefficient;
  }
  return sum;
}

// P. J. Acklam's approximation, relative error below 1.15e-9.
double approximate_quantile(double p) {
  constexpr std::array kCentreTop = {-3.969683028665376e+01, 2.209460984245205e+02,
                                     -2.759285104469687e+02, 1.383577518672690e+02,
                                     -3.066479806614716e+01, 2.506628277459239e+00};
  constexpr std::array kCentreBottom = {-5.447609879822406e+01, 1.615858368580409e+02,
                                        -1.556989798598866e+02, 6.680131188771972e+01,
                                        -1.328068155288572e+01, 1.0};
  constexpr std::array kTailTop = {-7.784894002430293e-03, -3.223964580411365e-01,
                                   -2.400758277161838e+00, -2.549732539343734e+00,
                                   4.374664141464968e+00,  2.938163982698783e+00};
  constexpr std::array kTailBottom = {7.784695709041462e-03, 3.224671290700398e-01,
                                      2.445134137142996e+00, 3.754408661907416e+00, 1.0};
  constexpr double kTail = 0.02425;
  if (p < kTail || p > 1 - kTail) {
    const double q = std::sqrt(-2 * std::log(std::min(p, 1 - p)));
    const double z = polynomial(kTailTop, q) / polynomial(kTailBottom, q);
    return p < kTail ? z : -z;
  }
  const double q = p - 0.5;
  return q * polynomial(kCentreTop, q * q) / polynomial(kCentreBottom, q * q);
}

// The half of the distribution that z falls into has this spread: of logarithms where the
// percentiles are positive.
double spread(const Percentiles& percentiles, bool is_upper) {
  const double outer = is_upper ? percentiles.p90 : percentiles.p10;
  const double distance = percentiles.p10 > 0 ? std::abs(std::log(outer / percentiles.p50))
                                              : std::abs(outer - percentiles.p50);
  return distance / kZ90;
}

}  // namespace

double normal_cdf(double z) {
  return 0.5 * std::erfc(-z / std::numbers::sqrt2);
}

double normal_quantile(double probability) {
  FATHOM_CHECK(probability > 0 && probability < 1);
  const double z = approximate_quantile(probability);
  const double error = normal_cdf(z) - probability;
  const double step = error * std::sqrt(2 * std::numbers::pi) * std::exp(z * z / 2);
  return z - step / (1 + z * step / 2);
}

double value_at(const Percentiles& percentiles, double z) {
  const double deviation = spread(percentiles, z > 0) * z;
  return percentiles.p10 > 0 ? percentiles.p50 * std::exp(deviation) : percentiles.p50 + deviation;
}

double mean_of(const Percentiles& percentiles) {
  const double upper = spread(percentiles, true);
  const double lower = spread(percentiles, false);
  if (percentiles.p10 > 0) {
    return percentiles.p50 * (std::exp(upper * upper / 2) * normal_cdf(upper) +
                              std::exp(lower * lower / 2) * normal_cdf(-lower));
  }
  return percentiles.p50 + (upper - lower) / std::sqrt(2 * std::numbers::pi);
}

double uniform(std::uint64_t seed, std::uint64_t draw_idx, std::uint64_t variable_idx) {
  const auto mix = [](std::uint64_t state) {
    state = (state ^ (state >> 30U)) * 0xbf58476d1ce4e5b9U;
    state = (state ^ (state >> 27U)) * 0x94d049bb133111ebU;
    return state ^ (state >> 31U);
  };
  constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15U;
  const std::uint64_t stream = mix(seed + kGolden * (variable_idx + 1));
  const std::uint64_t bits = mix(stream + kGolden * (draw_idx + 1)) >> 11U;
  return (static_cast<double>(bits) + 0.5) * 0x1p-53;
}

double quantile(std::span<double> values, double probability) {
  FATHOM_CHECK(!values.empty());
  const double rank = probability * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(rank);
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(below);
  std::nth_element(values.begin(), at, values.end());
  const double low = *at;
  const double part = rank - static_cast<double>(below);
  if (part == 0 || std::isinf(low)) {
    return low;
  }
  const double high = *std::min_element(at + 1, values.end());
  return low + part * (high - low);
}

Percentiles percentiles_of(std::vector<double> values) {
  return {quantile(values, 0.1), quantile(values, 0.5), quantile(values, 0.9)};
}

}  // namespace fathom::plan
