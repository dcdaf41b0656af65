// The mean loss of examples that were held out, before and after.
#pragma once

#include <optional>
#include <vector>

#include "fathom/train/loop/objective.h"
#include "fathom/train/tune/example.h"

namespace fathom::tune {

// Of each example, one after another: sums of losses and of weights.
struct ExampleLosses {
  std::vector<double> losses;
  std::vector<double> weights;
};
ExampleLosses losses_of(const std::vector<Example>& examples,
                        train::Objective& objective,
                        ops::Context& context);

// A mean over targets, and what it may be off by: examples are drawn, not tokens, so the error
// comes from the spread between examples. One example does not say what that is.
struct MeanLoss {
  double mean = 0;
  std::optional<double> standard_error;
};
MeanLoss mean_of(const ExampleLosses& losses);
// After less before, example by example: the same examples differ much less than two sets.
MeanLoss difference_of(const ExampleLosses& before, const ExampleLosses& after);

}  // namespace fathom::tune
