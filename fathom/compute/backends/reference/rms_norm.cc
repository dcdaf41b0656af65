#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {

template <typename Real>
void rms_norm(const ops::RmsNormArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.x.columns;
  for (Index row = 0; row < args.x.rows; ++row) {
    const Real* x = args.x.row(row);
    Real* out = args.out.row(row);
    const Real mean = dot(x, x, width) / static_cast<Real>(width);
    const Real factor = Real{1} / std::sqrt(mean + static_cast<Real>(args.epsilon));
    for (Index i = 0; i < width; ++i) {
      out[i] = rounded(static_cast<Real>(args.weight[to_size(i)]) * (x[i] * factor), args.rounding);
    }
  }
}

template <typename Real>
void head_norm(const ops::HeadNormArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.x.columns;
  for (Index row = 0; row < args.x.rows; ++row) {
    Real* x = args.x.row(row);
    Real lanes[kLanes] = {};
    for (Index i = 0; i < width; ++i) {
      lanes[i % kLanes] += rounded(x[i] * x[i], args.rounding);
    }
    const Real mean = rounded(sum_lanes(lanes) / static_cast<Real>(width), args.rounding);
    const Real shifted = rounded(mean + static_cast<Real>(args.epsilon), args.rounding);
    const Real factor = rounded(Real{1} / std::sqrt(shifted), args.rounding);
    for (Index i = 0; i < width; ++i) {
      x[i] = rounded(x[i] * factor, args.rounding);
    }
  }
}

template void rms_norm(const ops::RmsNormArgs<float>&, platform::ThreadPool&) noexcept;
template void rms_norm(const ops::RmsNormArgs<double>&, platform::ThreadPool&) noexcept;
template void head_norm(const ops::HeadNormArgs<float>&, platform::ThreadPool&) noexcept;
template void head_norm(const ops::HeadNormArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference
