#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {
namespace {

// Softmax of every row plus epsilon is the first row step; then columns, and rows and columns in
// turn, ending on columns (specification 3.2.2).
template <typename Real>
void sinkhorn(Real* comb, Index n, Real epsilon, Index iterations) {
  for (Index j = 0; j < n; ++j) {
    Real* row = comb + j * n;
    const Real largest = *std::max_element(row, row + n);
    Real sum = 0;
    for (Index k = 0; k < n; ++k) {
      row[k] = std::exp(row[k] - largest);
      sum += row[k];
    }
    for (Index k = 0; k < n; ++k) {
      row[k] = row[k] / sum + epsilon;
    }
  }
  const auto divide_by_sums = [&](Index outer_stride, Index inner_stride) {
    for (Index outer = 0; outer < n; ++outer) {
      Real sum = 0;
      for (Index inner = 0; inner < n; ++inner) {
        sum += comb[outer * outer_stride + inner * inner_stride];
      }
      for (Index inner = 0; inner < n; ++inner) {
        comb[outer * outer_stride + inner * inner_stride] /= sum + epsilon;
      }
    }
  };
  divide_by_sums(1, n);  // columns
  for (Index iteration = 1; iteration < iterations; ++iteration) {
    divide_by_sums(n, 1);
    divide_by_sums(1, n);
  }
}

}  // namespace

template <typename Real>
void hyper_control(const ops::HyperControlArgs<Real>& args,
                   platform::ThreadPool& /*pool*/) noexcept {
  const Index n = args.pre.columns;
  const auto epsilon = static_cast<Real>(args.epsilon);
  for (Index token = 0; token < args.products.rows; ++token) {
    const Real* streams = args.streams.row(token);
    const Real mean =
        dot(streams, streams, args.streams.columns) / static_cast<Real>(args.streams.columns);
    const Real factor = Real{1} / std::sqrt(mean + static_cast<Real>(args.norm_epsilon));
    const auto mixed = [&](Index idx, std::size_t scale_idx) {
      return args.products.row(token)[idx] * factor * static_cast<Real>(args.scale[scale_idx]) +
             static_cast<Real>(args.base[to_size(idx)]);
    };
    for (Index j = 0; j < n; ++j) {
      args.pre.row(token)[j] = sigmoid(mixed(j, 0)) + epsilon;
    }
    if (args.post.data == nullptr) {
      continue;  // the head has pre alone
    }
    for (Index j = 0; j < n; ++j) {
      args.post.row(token)[j] = Real{2} * sigmoid(mixed(n + j, 1));
    }
    for (Index idx = 0; idx < n * n; ++idx) {
      args.comb.row(token)[idx] = mixed(2 * n + idx, 2);
    }
    sinkhorn(args.comb.row(token), n, epsilon, args.iterations);
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
