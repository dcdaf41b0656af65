// Distributions through p10, p50 and p90, and the deterministic draws from them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/study/plan/percentiles.h"

namespace fathom::plan {

// Standard normal, in double.
double normal_cdf(double z);
// Its inverse, 0 < probability < 1: Acklam's rational approximation and one step of Halley's
// method, relative error below 1e-14.
double normal_quantile(double probability);

// The value at a standard normal z. Positive percentiles: a log-normal of two halves that meet at
// p50, so nothing is ever below 0. With p10 <= 0: a normal of two halves.
double value_at(const Percentiles& percentiles, double z);
// The mean of value_at over z, in closed form.
double mean_of(const Percentiles& percentiles);

// Uniform numbers in (0, 1): a function of seed, draw and variable alone (SplitMix64), so a draw
// does not depend on how many variables there are before it nor on the order of evaluation.
double uniform(std::uint64_t seed, std::uint64_t draw_idx, std::uint64_t variable_idx);

// The share `probability` of the values lies below: linear between neighbours in order. Values may
// be infinite, not NaN; at least one. Reorders them.
double quantile(std::span<double> values, double probability);
Percentiles percentiles_of(std::vector<double> values);

}  // namespace fathom::plan
