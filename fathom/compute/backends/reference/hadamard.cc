#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {

template <typename Real>
void hadamard(const ops::HadamardArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.x.columns;
  const auto factor = static_cast<Real>(1.0 / std::sqrt(static_cast<double>(width)));
  for (Index row = 0; row < args.x.rows; ++row) {
    Real* x = args.x.row(row);
    for (Index stride = 1; stride < width; stride *= 2) {
      for (Index block = 0; block < width; block += 2 * stride) {
        for (Index i = block; i < block + stride; ++i) {
          const Real sum = x[i] + x[i + stride];
          x[i + stride] = x[i] - x[i + stride];
          x[i] = sum;
        }
      }
    }
    for (Index i = 0; i < width; ++i) {
      x[i] = rounded(x[i] * factor, args.rounding);
    }
  }
}

template void hadamard(const ops::HadamardArgs<float>&, platform::ThreadPool&) noexcept;
template void hadamard(const ops::HadamardArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference
