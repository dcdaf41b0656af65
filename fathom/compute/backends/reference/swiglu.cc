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

template <typename Real>
void swiglu_backward(const ops::SwigluBackwardArgs<Real>& args,
                     platform::ThreadPool& /*pool*/) noexcept {
  const auto limit = static_cast<Real>(args.limit);
  for (Index row = 0; row < args.gate.rows; ++row) {
    const Real weight = args.weight == nullptr ? Real{1} : args.weight[row];
    Real d_weight = 0;
    for (Index i = 0; i < args.gate.columns; ++i) {
      const Real d_out = args.d_gate.row(row)[i];
      const bool is_gate_free = args.gate.row(row)[i] <= limit;
      const bool is_up_free = std::abs(args.up.row(row)[i]) <= limit;
      const Real gate = std::min(args.gate.row(row)[i], limit);
      const Real up = std::clamp(args.up.row(row)[i], -limit, limit);
      const Real share = sigmoid(gate);
      const Real slope = share * (Real{1} + gate * (Real{1} - share));  // of silu
      d_weight += d_out * gate * share * up;
      args.d_gate.row(row)[i] = is_gate_free ? d_out * slope * up * weight : Real{0};
      args.d_up.row(row)[i] += is_up_free ? d_out * gate * share * weight : Real{0};
    }
    if (args.d_weight != nullptr) {
      args.d_weight[row] += d_weight;
    }
  }
}

template void swiglu(const ops::SwigluArgs<float>&, platform::ThreadPool&) noexcept;
template void swiglu(const ops::SwigluArgs<double>&, platform::ThreadPool&) noexcept;
template void swiglu_backward(const ops::SwigluBackwardArgs<float>&,
                              platform::ThreadPool&) noexcept;
template void swiglu_backward(const ops::SwigluBackwardArgs<double>&,
                              platform::ThreadPool&) noexcept;

}  // namespace fathom::reference
