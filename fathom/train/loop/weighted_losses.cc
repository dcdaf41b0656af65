#include "fathom/train/loop/weighted_losses.h"

namespace fathom::train {

std::vector<RowRun> weighted_runs(std::span<const float> weights) {
  constexpr Index kMostBetween = 16;  // computing so many for nothing is cheaper than a run more
  std::vector<RowRun> runs;
  for (Index row = 0; row < to_index(weights.size()); ++row) {
    if (!(weights[to_size(row)] > 0)) {
      continue;
    }
    if (!runs.empty() && row - (runs.back().first + runs.back().count) <= kMostBetween) {
      runs.back().count = row + 1 - runs.back().first;
    } else {
      runs.push_back({row, 1});
    }
  }
  return runs;
}

namespace {

template <typename Real>
double sum_of_run(std::span<const float> weights,
                  const tensor::Tensor& losses,
                  const tensor::Tensor& d_losses,
                  double d_sum) {
  double sum = 0;
  for (std::size_t row = 0; row < weights.size(); ++row) {
    const auto weight = static_cast<double>(weights[row]);
    if (weight > 0) {
      sum += weight * static_cast<double>(losses.data<Real>()[row]);
    }
    if (!d_losses.is_empty()) {
      d_losses.data<Real>()[row] = static_cast<Real>(d_sum * weight);
    }
  }
  return sum;
}

}  // namespace

double weighted_loss(std::span<const float> weights,
                     const LossesOf& losses_of,
                     ops::Gradients* gradients,
                     double d_sum) {
  double sum = 0;
  for (const RowRun& run : weighted_runs(weights)) {
    const tensor::Tensor losses = losses_of(run.first, run.count);
    FATHOM_CHECK(losses.num_elements() == run.count);
    const tensor::Tensor d_losses = gradients == nullptr ? tensor::Tensor() : gradients->of(losses);
    const auto of_run = weights.subspan(to_size(run.first), to_size(run.count));
    sum += losses.dtype() == tensor::DType::F64
               ? sum_of_run<double>(of_run, losses, d_losses, d_sum)
               : sum_of_run<float>(of_run, losses, d_losses, d_sum);
  }
  return sum;
}

}  // namespace fathom::train
