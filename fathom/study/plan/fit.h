// Efficiencies from measured runs: the shares of the machine's limits that explain their times.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "fathom/study/plan/machine.h"

namespace fathom::plan {

// A run that was measured: what it took at the machine's limits, and what it really took.
struct Observation {
  std::string model;  // runs of one model are left out together
  Amounts seconds_at_limits{};
  double seconds = 0;
};

struct FittedEfficiencies {
  Amounts efficiencies{};
  Amounts spreads{};  // how much they change when one model is left out
  double error = 0;   // of models that were left out: see FigureKind::SpeedError
};

// Least squares of relative errors over efficiencies that are positive, with a weak pull towards
// the prior, which decides about kinds of work that no run has. Throws InvalidArgument when there
// are fewer than two models.
FittedEfficiencies fit_efficiencies(std::span<const Observation> observations,
                                    const Amounts& prior);

// What a machine is taken to reach where nothing was measured.
Amounts prior_efficiencies();

}  // namespace fathom::plan
