#include "fathom/train/optim/ema.h"

#include <algorithm>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/thread_pool.h"

namespace fathom::optim {

WeightAverage::WeightAverage(std::vector<Parameter> parameters, double decay)
    : parameters_(std::move(parameters)), decay_(decay) {
  if (!(decay >= 0 && decay < 1)) {
    fail(ErrorCode::InvalidArgument, "ema decay: ", decay, ", expected at least 0 and below 1");
  }
  for (const Parameter& parameter : parameters_) {
    averages_.emplace_back(parameter.values.begin(), parameter.values.end());
  }
}

void WeightAverage::update(platform::ThreadPool& pool) {
  const auto rate = static_cast<float>(1 - decay_);
  pool.parallel_for(to_index(parameters_.size()), [&](Index idx, int /*thread_idx*/) {
    const std::span<const float> values = parameters_[to_size(idx)].values;
    std::vector<float>& averages = averages_[to_size(idx)];
    for (std::size_t i = 0; i < averages.size(); ++i) {
      averages[i] += rate * (values[i] - averages[i]);
    }
  });
}

void WeightAverage::swap_values() noexcept {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    std::swap_ranges(averages_[i].begin(), averages_[i].end(), parameters_[i].values.begin());
  }
}

std::vector<StateTensor> WeightAverage::state() {
  std::vector<StateTensor> tensors;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& parameter = parameters_[i];
    tensors.push_back({"ema." + parameter.name, parameter.rows, parameter.columns, averages_[i]});
  }
  return tensors;
}

}  // namespace fathom::optim
