// Numbers for tests of optimisers.
#pragma once

#include <random>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::optim {

template <typename Real>
std::vector<Real> normal_numbers(Index count, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal;
  std::vector<Real> numbers(to_size(count));
  for (Real& number : numbers) {
    number = static_cast<Real>(normal(engine));
  }
  return numbers;
}

}  // namespace fathom::optim
