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

namespace {

// From g[i], the gradient of x[i] * factor, to what is added to that of x[i].
template <typename Real>
struct NormGradient {
  Real factor;
  Real shared;  // factor^3 mean(g x)

  Real operator()(Real g, Real x) const { return factor * g - shared * x; }
};

template <typename Real, typename Scaled>
NormGradient<Real> norm_gradient(const Real* x, Index width, double epsilon, const Scaled& g) {
  const Real mean = dot(x, x, width) / static_cast<Real>(width);
  const Real factor = Real{1} / std::sqrt(mean + static_cast<Real>(epsilon));
  Real sum = 0;
  for (Index i = 0; i < width; ++i) {
    sum += g(i) * x[i];
  }
  return {factor, factor * factor * factor * sum / static_cast<Real>(width)};
}

}  // namespace

template <typename Real>
void rms_norm_backward(const ops::RmsNormBackwardArgs<Real>& args,
                       platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.x.columns;
  for (Index row = 0; row < args.x.rows; ++row) {
    const Real* x = args.x.row(row);
    const Real* d_out = args.d_out.row(row);
    const auto scaled = [&](Index i) {
      return static_cast<Real>(args.weight[to_size(i)]) * d_out[i];
    };
    const NormGradient<Real> gradient = norm_gradient(x, width, args.epsilon, scaled);
    for (Index i = 0; i < width; ++i) {
      args.d_x.row(row)[i] += gradient(scaled(i), x[i]);
    }
    for (Index i = 0; args.d_weight != nullptr && i < width; ++i) {
      args.d_weight[i] += d_out[i] * (x[i] * gradient.factor);
    }
  }
}

template <typename Real>
void head_norm_backward(const ops::HeadNormBackwardArgs<Real>& args,
                        platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.x.columns;
  for (Index row = 0; row < args.x.rows; ++row) {
    const Real* x = args.x.row(row);
    Real* d_x = args.d_x.row(row);
    const NormGradient<Real> gradient =
        norm_gradient(x, width, args.epsilon, [&](Index i) { return d_x[i]; });
    for (Index i = 0; i < width; ++i) {
      d_x[i] = gradient(d_x[i], x[i]);
    }
  }
}

template void rms_norm(const ops::RmsNormArgs<float>&, platform::ThreadPool&) noexcept;
template void rms_norm(const ops::RmsNormArgs<double>&, platform::ThreadPool&) noexcept;
template void head_norm(const ops::HeadNormArgs<float>&, platform::ThreadPool&) noexcept;
template void head_norm(const ops::HeadNormArgs<double>&, platform::ThreadPool&) noexcept;
template void rms_norm_backward(const ops::RmsNormBackwardArgs<float>&,
                                platform::ThreadPool&) noexcept;
template void rms_norm_backward(const ops::RmsNormBackwardArgs<double>&,
                                platform::ThreadPool&) noexcept;
template void head_norm_backward(const ops::HeadNormBackwardArgs<float>&,
                                 platform::ThreadPool&) noexcept;
template void head_norm_backward(const ops::HeadNormBackwardArgs<double>&,
                                 platform::ThreadPool&) noexcept;

}  // namespace fathom::reference
