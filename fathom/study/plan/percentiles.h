// The plain structs that the speed model and the cost model share.
#pragma once

#include <string>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::plan {

// An uncertain quantity: one time in ten it is below p10, every second time below p50, nine times
// in ten below p90. All equal: known exactly. docs/planning-costs.md says which distribution is
// drawn through the three points.
struct Percentiles {
  double p10 = 0;
  double p50 = 0;
  double p90 = 0;
  static Percentiles exactly(double value) { return {value, value, value}; }
  bool is_exact() const { return p10 == p50 && p50 == p90; }
  friend bool operator==(const Percentiles&, const Percentiles&) = default;
};

// Decoding at one context and one number of sequences at a time.
struct DecodePoint {
  Index context_tokens = 0;
  Index concurrency = 1;
  Percentiles tokens_per_s;  // of all sequences together
};

// What one machine computes, as the speed model or a measurement says.
struct MachineSpeed {
  std::vector<DecodePoint> decode;  // a full grid: every context with every concurrency
  Percentiles prefill_tokens_per_s;
  std::string basis;  // where the figures come from: printed with every cost
};

}  // namespace fathom::plan
