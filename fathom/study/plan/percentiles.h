// The plain structs that the speed model and the cost model share.
#pragma once

#include <string>
#include <vector>

#include "fathom/base/chart/percentiles.h"
#include "fathom/base/core/index.h"

namespace fathom::plan {

// docs/planning-costs.md says which distribution is drawn through the three points.
using chart::Percentiles;

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
