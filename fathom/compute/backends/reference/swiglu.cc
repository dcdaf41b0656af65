#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {

template <typename Real>
void swiglu(const ops::SwigluArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  const auto limit = static_cast<Real>(args.limit);
  for (Index row = 0; row < args.gate.rows; ++row) {
    const Real weight = args.weight == nullptr ? Real{1} : args.weight[row];
    for (Index i = 0; i < args.gate.columns; ++i) {
      const Real gate = std::min(args.gate.row(row)[i], limit);
      const Real up = std::clamp(args.up.row(row)[i], -limit, limit);
      args.out.row(row)[i] = rounded(gate * sigmoid(gate) * up * weight, args.rounding);
    }
  }
}

template void swiglu(const ops::SwigluArgs<float>&, platform::ThreadPool&) noexcept;
template void swiglu(const ops::SwigluArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference
