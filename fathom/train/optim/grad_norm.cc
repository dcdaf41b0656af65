#include "fathom/train/optim/grad_norm.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/thread_pool.h"

namespace fathom::optim {
namespace {

constexpr std::size_t kPieceNumbers = 1 << 16;

struct Piece {
  std::size_t parameter;
  std::span<const float> numbers;
};

// In lanes, so that the compiler can use registers of several numbers: it may not reorder sums.
double sum_of_squares(std::span<const float> numbers) {
  constexpr std::size_t kLanes = 8;
  std::array<double, kLanes> sums{};
  const std::size_t whole = numbers.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const auto number = static_cast<double>(numbers[i + lane]);
      sums[lane] += number * number;
    }
  }
  for (std::size_t i = whole; i < numbers.size(); ++i) {
    const auto number = static_cast<double>(numbers[i]);
    sums[i - whole] += number * number;
  }
  double sum = 0;
  for (const double lane : sums) {
    sum += lane;
  }
  return sum;
}

[[noreturn]] void fail_at(const Parameter& parameter, std::span<const float> gradient) {
  const auto bad = std::find_if(gradient.begin(), gradient.end(),
                                [](float number) { return !std::isfinite(number); });
  FATHOM_CHECK(bad != gradient.end());
  const Index place = bad - gradient.begin();
  fail(ErrorCode::InvalidArgument, parameter.name, ": element [", place / parameter.columns, ", ",
       place % parameter.columns, "] of its gradient is ", *bad,
       ", expected a finite number; often the learning rate is too high");
}

}  // namespace

double gradient_norm(std::span<const Parameter> parameters,
                     std::span<const std::span<const float>> gradients,
                     platform::ThreadPool& pool) {
  FATHOM_CHECK(parameters.size() == gradients.size());
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    for (std::size_t first = 0; first < gradients[i].size(); first += kPieceNumbers) {
      pieces.push_back(
          {i, gradients[i].subspan(first, std::min(kPieceNumbers, gradients[i].size() - first))});
    }
  }
  std::vector<double> sums(pieces.size());
  pool.parallel_for(to_index(pieces.size()), [&](Index idx, int /*thread_idx*/) {
    sums[to_size(idx)] = sum_of_squares(pieces[to_size(idx)].numbers);
  });
  double sum = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    // A square of a finite float is finite in double.
    if (!std::isfinite(sums[i])) {
      fail_at(parameters[pieces[i].parameter], gradients[pieces[i].parameter]);
    }
    sum += sums[i];
  }
  return std::sqrt(sum);
}

double clip_factor(double norm, double largest) {
  return largest > 0 && norm > largest ? largest / norm : 1;
}

}  // namespace fathom::optim
