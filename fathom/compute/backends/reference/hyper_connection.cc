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

namespace {

// One step of the iterations, y[i] = x[i] / (sum_j x[j] + epsilon) in every row or column: from the
// gradient of y to that of x, in place: d_x[i] = (d_y[i] - sum_j d_y[j] y[j]) / (sum + epsilon).
template <typename Real>
void division_backward(
    const Real* before, const Real* after, Real epsilon, bool is_by_rows, Index n, Real* gradient) {
  const Index outer_stride = is_by_rows ? n : 1;
  const Index inner_stride = is_by_rows ? 1 : n;
  for (Index outer = 0; outer < n; ++outer) {
    Real sum = epsilon;
    Real weighted = 0;
    for (Index inner = 0; inner < n; ++inner) {
      const Index at = outer * outer_stride + inner * inner_stride;
      sum += before[at];
      weighted += gradient[at] * after[at];
    }
    for (Index inner = 0; inner < n; ++inner) {
      Real& each = gradient[outer * outer_stride + inner * inner_stride];
      each = (each - weighted) / sum;
    }
  }
}

// Gradient of the matrix that goes into the iterations, in place of that of their result.
// `matrices` has room for 2 * iterations of them.
template <typename Real>
void sinkhorn_backward(
    const Real* comb, Index n, Real epsilon, Index iterations, Real* matrices, Real* gradient) {
  const Index size = n * n;
  const Index num_steps = 2 * iterations;
  for (Index step = 0; step < num_steps; ++step) {
    Real* matrix = matrices + step * size;
    if (step == 0) {
      std::copy_n(comb, size, matrix);
      ops::softmax_rows(matrix, n, epsilon);
    } else {
      std::copy_n(matrix - size, size, matrix);
      ops::divide_by_sums(matrix, n, epsilon, step % 2 == 0);
    }
  }
  for (Index step = num_steps - 1; step > 0; --step) {
    division_backward(matrices + (step - 1) * size, matrices + step * size, epsilon, step % 2 == 0,
                      n, gradient);
  }
  for (Index j = 0; j < n; ++j) {
    const Real* row = matrices + j * n;  // the softmax plus epsilon
    Real weighted = 0;
    for (Index k = 0; k < n; ++k) {
      weighted += gradient[j * n + k] * (row[k] - epsilon);
    }
    for (Index k = 0; k < n; ++k) {
      gradient[j * n + k] = (row[k] - epsilon) * (gradient[j * n + k] - weighted);
    }
  }
}

// Gradients of one token's sigmoids and matrix, before their scale and base: d_mixed[idx] as
// products are laid out.
template <typename Real, typename Mixed>
void mixed_backward(const ops::HyperControlBackwardArgs<Real>& args,
                    Index token,
                    const Mixed& mixed,
                    Real* d_mixed) {
  const Index n = args.d_pre.columns;
  const auto slope = [&](Index idx) {
    const Real share = sigmoid(mixed(idx));
    return share * (Real{1} - share);
  };
  for (Index j = 0; j < n; ++j) {
    d_mixed[j] = args.d_pre.row(token)[j] * slope(j);
  }
  if (args.d_post.data == nullptr) {
    return;  // the head has pre alone
  }
  for (Index j = 0; j < n; ++j) {
    d_mixed[n + j] = Real{2} * args.d_post.row(token)[j] * slope(n + j);
  }
  constexpr Index kMost = ops::HyperMergeArgs<Real>::kMaxStreams;
  Real comb[to_size(kMost * kMost)];
  for (Index idx = 0; idx < n * n; ++idx) {
    comb[idx] = mixed(2 * n + idx);
    d_mixed[2 * n + idx] = args.d_comb.row(token)[idx];
  }
  sinkhorn_backward(comb, n, static_cast<Real>(args.epsilon), args.iterations, args.scratch.row(0),
                    d_mixed + 2 * n);
}

}  // namespace

template <typename Real>
void hyper_control_backward(const ops::HyperControlBackwardArgs<Real>& args,
                            platform::ThreadPool& /*pool*/) noexcept {
  constexpr Index kMost = ops::HyperMergeArgs<Real>::kMaxStreams;
  const Index n = args.d_pre.columns;
  const Index width = args.streams.columns;
  const auto scale_of = [n](Index idx) { return to_size(idx < n ? 0 : idx < 2 * n ? 1 : 2); };
  for (Index token = 0; token < args.products.rows; ++token) {
    const Real* streams = args.streams.row(token);
    const Real* products = args.products.row(token);
    const Real mean_square = dot(streams, streams, width) / static_cast<Real>(width);
    const Real factor = Real{1} / std::sqrt(mean_square + static_cast<Real>(args.norm_epsilon));
    Real d_mixed[to_size(kMost * (2 + kMost))] = {};
    mixed_backward(
        args, token,
        [&](Index idx) {
          return products[idx] * factor * static_cast<Real>(args.scale[scale_of(idx)]) +
                 static_cast<Real>(args.base[to_size(idx)]);
        },
        d_mixed);
    Real d_factor = 0;
    for (Index idx = 0; idx < args.products.columns; ++idx) {
      const auto scale = static_cast<Real>(args.scale[scale_of(idx)]);
      args.d_products.row(token)[idx] += d_mixed[idx] * factor * scale;
      d_factor += d_mixed[idx] * products[idx] * scale;
      if (args.d_scale != nullptr) {
        args.d_scale[scale_of(idx)] += d_mixed[idx] * products[idx] * factor;
      }
      if (args.d_base != nullptr) {
        args.d_base[idx] += d_mixed[idx];
      }
    }
    // factor = (mean square + epsilon)^-1/2
    const Real d_square = -factor * factor * factor * d_factor / static_cast<Real>(width);
    for (Index i = 0; i < width; ++i) {
      args.d_streams.row(token)[i] += d_square * streams[i];
    }
  }
}

template <typename Real>
void hyper_collapse_backward(const ops::HyperCollapseBackwardArgs<Real>& args,
                             platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.d_out.columns;
  for (Index token = 0; token < args.d_out.rows; ++token) {
    const Real* d_out = args.d_out.row(token);
    for (Index j = 0; j < args.weights.columns; ++j) {
      const Real weight = args.weights.row(token)[j];
      Real* d_stream = args.d_streams.row(token) + j * width;
      for (Index i = 0; i < width; ++i) {
        d_stream[i] += weight * d_out[i];
      }
      args.d_weights.row(token)[j] += dot(args.streams.row(token) + j * width, d_out, width);
    }
  }
}

template <typename Real>
void hyper_merge_backward(const ops::HyperMergeBackwardArgs<Real>& args,
                          platform::ThreadPool& /*pool*/) noexcept {
  const Index n = args.post.columns;
  const Index width = args.y.columns;
  for (Index token = 0; token < args.y.rows; ++token) {
    const Real* y = args.y.row(token);
    const Real* comb = args.comb.row(token);
    Real* d_streams = args.d_streams.row(token);
    for (Index k = 0; k < n; ++k) {
      const Real* d_merged = d_streams + k * width;
      args.d_post.row(token)[k] += dot(y, d_merged, width);
      for (Index j = 0; j < n; ++j) {
        args.d_comb.row(token)[j * n + k] +=
            dot(args.streams.row(token) + j * width, d_merged, width);
      }
    }
    for (Index i = 0; i < width; ++i) {
      Real d_merged[ops::HyperMergeArgs<Real>::kMaxStreams];
      for (Index k = 0; k < n; ++k) {
        d_merged[k] = d_streams[k * width + i];
        args.d_y.row(token)[i] += args.post.row(token)[k] * d_merged[k];
      }
      for (Index j = 0; j < n; ++j) {
        Real sum = 0;
        for (Index k = 0; k < n; ++k) {
          sum += comb[j * n + k] * d_merged[k];
        }
        d_streams[j * width + i] = sum;
      }
    }
  }
}

template <typename Real>
void add_to_streams_backward(const ops::AddToStreamsBackwardArgs<Real>& args,
                             platform::ThreadPool& /*pool*/) noexcept {
  const Index num_streams = args.d_each.rows / std::max<Index>(args.d_shared.rows, 1);
  for (Index row = 0; row < args.d_each.rows; ++row) {
    Real* d_shared = args.d_shared.row(row / num_streams);
    for (Index i = 0; i < args.d_each.columns; ++i) {
      d_shared[i] += args.d_each.row(row)[i];
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
template void hyper_control_backward(const ops::HyperControlBackwardArgs<float>&,
                                     platform::ThreadPool&) noexcept;
template void hyper_control_backward(const ops::HyperControlBackwardArgs<double>&,
                                     platform::ThreadPool&) noexcept;
template void hyper_collapse_backward(const ops::HyperCollapseBackwardArgs<float>&,
                                      platform::ThreadPool&) noexcept;
template void hyper_collapse_backward(const ops::HyperCollapseBackwardArgs<double>&,
                                      platform::ThreadPool&) noexcept;
template void hyper_merge_backward(const ops::HyperMergeBackwardArgs<float>&,
                                   platform::ThreadPool&) noexcept;
template void hyper_merge_backward(const ops::HyperMergeBackwardArgs<double>&,
                                   platform::ThreadPool&) noexcept;
template void add_to_streams_backward(const ops::AddToStreamsBackwardArgs<float>&,
                                      platform::ThreadPool&) noexcept;
template void add_to_streams_backward(const ops::AddToStreamsBackwardArgs<double>&,
                                      platform::ThreadPool&) noexcept;

}  // namespace fathom::reference
