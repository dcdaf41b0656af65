// An exponential moving average of the weights: often better than the last ones.
#pragma once

#include <span>
#include <vector>

#include "fathom/train/optim/optimizer.h"

namespace fathom::optim {

class WeightAverage {
 public:
  // Starts as the parameters' values, which have to stay where they are. `decay` is what is kept
  // of the average at each update. Throws InvalidArgument unless it lies in [0, 1).
  WeightAverage(std::vector<Parameter> parameters, double decay);

  // average += (1 - decay) * (value - average), after a step of the optimiser.
  void update(platform::ThreadPool& pool);

  // Exchanges values and averages: to evaluate or write the averages, and then back.
  void swap_values() noexcept;

  // For checkpoints, named "ema." and the parameter's name. Not while they are exchanged.
  std::vector<StateTensor> state();

 private:
  std::vector<Parameter> parameters_;
  std::vector<std::vector<float>> averages_;
  double decay_;
};

}  // namespace fathom::optim
