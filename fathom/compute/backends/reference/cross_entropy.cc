#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {
namespace {

// The largest of a row, and the sum of the exponentials of all less that.
template <typename Real>
struct Exponentials {
  Real largest;
  Real sum;
};

template <typename Real>
Exponentials<Real> exponentials(const Real* logits, Index count) {
  const Real largest = *std::max_element(logits, logits + count);
  Real sum = 0;
  for (Index i = 0; i < count; ++i) {
    sum += std::exp(logits[i] - largest);
  }
  return {largest, sum};
}

}  // namespace

template <typename Real>
void cross_entropy(const ops::CrossEntropyArgs<Real>& args,
                   platform::ThreadPool& /*pool*/) noexcept {
  for (Index row = 0; row < args.logits.rows; ++row) {
    const Real* logits = args.logits.row(row);
    const auto [largest, sum] = exponentials(logits, args.logits.columns);
    args.losses[row] = std::log(sum) + (largest - logits[args.targets[to_size(row)]]);
  }
}

template <typename Real>
void cross_entropy_backward(const ops::CrossEntropyBackwardArgs<Real>& args,
                            platform::ThreadPool& /*pool*/) noexcept {
  for (Index row = 0; row < args.logits.rows; ++row) {
    Real* logits = args.logits.row(row);
    const auto [largest, sum] = exponentials<Real>(logits, args.logits.columns);
    const Real d_loss = args.d_losses[row];
    for (Index i = 0; i < args.logits.columns; ++i) {
      logits[i] = d_loss * (std::exp(logits[i] - largest) / sum);
    }
    logits[args.targets[to_size(row)]] -= d_loss;
  }
}

template void cross_entropy(const ops::CrossEntropyArgs<float>&, platform::ThreadPool&) noexcept;
template void cross_entropy(const ops::CrossEntropyArgs<double>&, platform::ThreadPool&) noexcept;
template void cross_entropy_backward(const ops::CrossEntropyBackwardArgs<float>&,
                                     platform::ThreadPool&) noexcept;
template void cross_entropy_backward(const ops::CrossEntropyBackwardArgs<double>&,
                                     platform::ThreadPool&) noexcept;

}  // namespace fathom::reference
