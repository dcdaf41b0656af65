#include "fathom/base/core/ratio_of_sums.h"

#include <cmath>

namespace fathom {

void RatioOfSums::add(double numerator, double denominator) {
  samples_.push_back({numerator, denominator});
  numerator_ += numerator;
  denominator_ += denominator;
}

std::optional<double> RatioOfSums::standard_error() const {
  if (samples_.size() < 2) {
    return std::nullopt;
  }
  double squares = 0;
  for (const Sample& sample : samples_) {
    squares += std::pow(sample.numerator - ratio() * sample.denominator, 2);
  }
  const auto count = static_cast<double>(samples_.size());
  return std::sqrt(squares * count / (count - 1)) / denominator_;
}

}  // namespace fathom
