#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"
#include "fathom/compute/ops/scalar_rows.h"

namespace fathom::reference {
template <typename Real>
void hyper_control(const ops::HyperControlArgs<Real>& args,
                   platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.streams.columns;
  for (Index token = 0; token < args.products.rows; ++token) {
    const Real* streams = args.streams.row(token);
    ops::hyper_control_row(args, token, dot(streams, streams, width) / static_cast<Real>(width));
  }
}

template <typename Real>
void hyper_collapse(const ops::HyperCollapseArgs<Real>& args,
                    platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.out.columns;
  for (Index token = 0; token < args.out.rows; ++token) {
    for (Index i = 0; i < width; ++i) {
      Real sum = 0;
      for (Index j = 0; j < args.weights.columns; ++j) {
        sum += args.weights.row(token)[j] * args.streams.row(token)[j * width + i];
      }
      args.out.row(token)[i] = rounded(sum, args.rounding);
    }
  }
}

template <typename Real>
void hyper_merge(const ops::HyperMergeArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  const Index n = args.post.columns;
  const Index width = args.y.columns;
  for (Index token = 0; token < args.y.rows; ++token) {
    Real* streams = args.streams.row(token);
    const Real* comb = args.comb.row(token);
    for (Index i = 0; i < width; ++i) {
      Real source[ops::HyperMergeArgs<Real>::kMaxStreams];
      for (Index j = 0; j < n; ++j) {
        source[j] = streams[j * width + i];
      }
      for (Index k = 0; k < n; ++k) {
        Real sum = args.post.row(token)[k] * args.y.row(token)[i];
        for (Index j = 0; j < n; ++j) {
          sum += comb[j * n + k] * source[j];
        }
        streams[k * width + i] = rounded(sum, args.rounding);
      }
    }
  }
}

template <typename Real>
void add_to_streams(const ops::AddToStreamsArgs<Real>& args,
                    platform::ThreadPool& /*pool*/) noexcept {
  const Index num_streams = args.each.rows / std::max<Index>(args.shared.rows, 1);
  for (Index row = 0; row < args.each.rows; ++row) {
    const Real* shared = args.shared.row(row / num_streams);
    for (Index i = 0; i < args.each.columns; ++i) {
      args.each.row(row)[i] = rounded(args.each.row(row)[i] + shared[i], args.rounding);
    }
  }
}

template void hyper_control(const ops::HyperControlArgs<float>&, platform::ThreadPool&) noexcept;
template void hyper_control(const ops::HyperControlArgs<double>&, platform::ThreadPool&) noexcept;
template void hyper_collapse(const ops::HyperCollapseArgs<float>&, platform::ThreadPool&) noexcept;
template void hyper_collapse(const ops::HyperCollapseArgs<double>&, platform::ThreadPool&) noexcept;
template void hyper_merge(const ops::HyperMergeArgs<float>&, platform::ThreadPool&) noexcept;
template void hyper_merge(const ops::HyperMergeArgs<double>&, platform::ThreadPool&) noexcept;
template void add_to_streams(const ops::AddToStreamsArgs<float>&, platform::ThreadPool&) noexcept;
template void add_to_streams(const ops::AddToStreamsArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference
