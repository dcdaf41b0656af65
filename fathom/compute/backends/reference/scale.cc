#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {

template <typename Real>
void scale(const ops::ScaleArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  for (Index row = 0; row < args.x.rows; ++row) {
    for (Index i = 0; i < args.x.columns; ++i) {
      args.x.row(row)[i] =
          rounded(args.x.row(row)[i] * static_cast<Real>(args.factor), args.rounding);
    }
  }
}

template void scale(const ops::ScaleArgs<float>&, platform::ThreadPool&) noexcept;
template void scale(const ops::ScaleArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference
