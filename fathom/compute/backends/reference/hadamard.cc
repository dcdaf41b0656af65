#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"
#include "fathom/compute/ops/scalar_rows.h"

namespace fathom::reference {

template <typename Real>
void hadamard(const ops::HadamardArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  for (Index row = 0; row < args.x.rows; ++row) {
    ops::hadamard_row(args.x.row(row), args.x.columns, args.rounding);
  }
}

template void hadamard(const ops::HadamardArgs<float>&, platform::ThreadPool&) noexcept;
template void hadamard(const ops::HadamardArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference
