#include "fathom/train/optim/adamw.h"

#include <cmath>

namespace fathom::optim {

template <typename Real>
void adamw_update(const AdamWStep& step, const AdamWNumbers<Real>& numbers) noexcept {
  const auto time = static_cast<double>(step.step);
  const double mean_correction = 1 - std::pow(step.options.beta1, time);
  const double square_correction = 1 - std::pow(step.options.beta2, time);
  const auto keep = static_cast<Real>(1 - step.learning_rate * step.weight_decay);
  const auto scale = static_cast<Real>(step.gradient_scale);
  const auto mean_rate = static_cast<Real>(1 - step.options.beta1);
  const auto square_keep = static_cast<Real>(step.options.beta2);
  const auto square_rate = static_cast<Real>(1 - step.options.beta2);
  const auto root_scale = static_cast<Real>(1 / std::sqrt(square_correction));
  const auto epsilon = static_cast<Real>(step.options.epsilon);
  const auto rate = static_cast<Real>(step.learning_rate / mean_correction);
  Real* const values = numbers.values.data();
  const Real* const gradients = numbers.gradient.data();
  Real* const means = numbers.mean.data();
  Real* const squares = numbers.square.data();
  for (std::size_t i = 0; i < numbers.values.size(); ++i) {
    const Real gradient = gradients[i] * scale;
    const Real mean = means[i] + mean_rate * (gradient - means[i]);
    const Real square = square_keep * squares[i] + square_rate * gradient * gradient;
    means[i] = mean;
    squares[i] = square;
    values[i] = keep * values[i] - rate * (mean / (std::sqrt(square) * root_scale + epsilon));
  }
}

template void adamw_update(const AdamWStep&, const AdamWNumbers<float>&) noexcept;
template void adamw_update(const AdamWStep&, const AdamWNumbers<double>&) noexcept;

}  // namespace fathom::optim
