// Losses of rows that count for different amounts.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "fathom/compute/ops/recorder.h"

namespace fathom::train {

// Neighbouring rows of a step.
struct RowRun {
  Index first;
  Index count;
  friend bool operator==(const RowRun&, const RowRun&) = default;
};

// The rows that have a weight, in as few runs as it takes; a run may hold some rows without one
// where that saves another run.
std::vector<RowRun> weighted_runs(std::span<const float> weights);

// sum_t weights[t] losses[t], summed in double. `losses_of` gives the losses [count] of rows
// [first, first + count) and is only asked for rows of weighted_runs(); a row without weight adds
// nothing, whatever its loss. With `gradients`, that of losses[t] becomes d_sum weights[t].
using LossesOf = std::function<tensor::Tensor(Index first, Index count)>;
double weighted_loss(std::span<const float> weights,
                     const LossesOf& losses_of,
                     ops::Gradients* gradients,
                     double d_sum);

}  // namespace fathom::train
