// What the cost model says under uncertainty: intervals, what matters most, and where it pays.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/study/plan/cost.h"
#include "fathom/study/plan/percentiles.h"

namespace fathom::plan {

struct StudyOptions {
  Index num_draws = 20'000;
  std::uint64_t seed = 1;
};

// Of the draws: p10, p50, p90 of each figure on its own.
struct CostIntervals {
  std::array<Percentiles, kTokenClasses.size()> own_usd_per_million_tokens = {};
  std::array<Percentiles, kTokenClasses.size()> api_usd_per_million_tokens = {};
  Percentiles own_usd_per_month;
  Percentiles api_usd_per_month;
  Percentiles saving_usd_per_month;
  Percentiles utilisation;
  Percentiles crossover_utilisation;  // infinite: never
  Percentiles crossover_tokens_per_month;
  double share_own_is_cheaper = 0;  // of the draws, at the traffic they drew
  double share_without_crossover = 0;
  double share_with_unserved_tokens = 0;
};

// The saving with one quantity at its p10 and p90 and all others at p50.
struct TornadoBar {
  std::string name;
  Percentiles value;
  double saving_usd_at_p10 = 0;
  double saving_usd_at_p90 = 0;
  double swing_usd() const;
};

// Costs of a million tokens of the mix over utilisation.
struct BreakEvenPoint {
  double utilisation = 0;
  double tokens_per_month = 0;  // at the median
  Percentiles own_usd_per_million_tokens;
  Percentiles api_usd_per_million_tokens;
};

// A quantity, and who says it.
struct Basis {
  std::string name;  // with its unit
  Percentiles value;
  std::string says;
};

struct CostStudy {
  CostPoint median;  // every quantity at its p50
  CostIntervals intervals;
  std::vector<TornadoBar> tornado;  // largest swing first; without those known exactly
  std::vector<BreakEvenPoint> break_even;
  std::vector<Basis> basis;
  std::vector<std::string> notes;  // what a reader must know before using a figure
  StudyOptions options;
};

// Throws InvalidArgument for fewer than 100 or more than 10,000,000 draws.
CostStudy study_cost(const CostModel& model, const StudyOptions& options = {});

}  // namespace fathom::plan
