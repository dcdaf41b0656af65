#include <limits>

#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {
namespace {

// Where a channel of a block pools from: calls visit(token, column) for its tokens in order of
// position. The value is in this column of the token's row, the gate half a row behind it.
template <typename Args, typename Visit>
void for_each_place(const Args& args, Index block, Index channel, const Visit& visit) {
  const Index width = args.input.width / 2;  // values, then as many gates
  const Index start = block * args.block_tokens;
  if (args.has_overlap) {
    for (Index token = std::max<Index>(0, start - args.block_tokens); token < start; ++token) {
      visit(token, channel);
    }
  }
  const Index column = channel + (args.has_overlap ? width / 2 : 0);
  for (Index token = start; token < start + args.block_tokens; ++token) {
    visit(token, column);
  }
}

// The softmax of a channel of a block over its gates: exponents less than `largest`, their sum, and
// the pooled value.
template <typename Real>
struct Pooled {
  Real largest;
  Real sum;
  Real value;
};

template <typename Real, typename Args>
Pooled<Real> pool_channel(const Args& args, Index block, Index channel) {
  const Index width = args.input.width / 2;
  Real largest = -std::numeric_limits<Real>::infinity();
  for_each_place(args, block, channel, [&](Index token, Index column) {
    largest = std::max(largest, args.input.row(token)[width + column]);
  });
  Real sum = 0;
  Real weighted = 0;
  for_each_place(args, block, channel, [&](Index token, Index column) {
    const Real* row = args.input.row(token);
    const Real weight = std::exp(row[width + column] - largest);
    sum += weight;
    weighted += weight * row[column];
  });
  return {largest, sum, weighted / sum};
}

}  // namespace

template <typename Real>
void position_bias(const ops::PositionBiasArgs<Real>& args,
                   platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.rows.columns / 2;
  for (Index row = 0; row < args.rows.rows; ++row) {
    const float* bias = args.bias.data() + args.positions[to_size(row)] % args.block_tokens * width;
    for (Index i = 0; i < width; ++i) {
      args.rows.row(row)[width + i] += static_cast<Real>(bias[i]);
    }
  }
}

template <typename Real>
void compress_pool(const ops::CompressPoolArgs<Real>& args,
                   platform::ThreadPool& /*pool*/) noexcept {
  for (Index row = 0; row < args.out.rows; ++row) {
    for (Index channel = 0; channel < args.out.columns; ++channel) {
      const auto pooled = pool_channel<Real>(args, args.first_block + row, channel);
      args.out.row(row)[channel] = rounded(pooled.value, args.rounding);
    }
  }
}

template <typename Real>
void position_bias_backward(const ops::PositionBiasBackwardArgs<Real>& args,
                            platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.d_bias.columns;
  for (Index row = 0; row < args.d_rows.rows; ++row) {
    Real* d_bias = args.d_bias.row(args.positions[to_size(row)] % args.block_tokens);
    for (Index i = 0; i < width; ++i) {
      d_bias[i] += args.d_rows.row(row)[width + i];
    }
  }
}

template <typename Real>
void compress_pool_backward(const ops::CompressPoolBackwardArgs<Real>& args,
                            platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.input.width / 2;
  for (Index row = 0; row < args.d_out.rows; ++row) {
    for (Index channel = 0; channel < args.d_out.columns; ++channel) {
      const Index block = args.first_block + row;
      const auto pooled = pool_channel<Real>(args, block, channel);
      for_each_place(args, block, channel, [&](Index token, Index column) {
        const Real* input = args.input.row(token);
        Real* d_input = args.d_input.row(token);
        const Real d_weighted = std::exp(input[width + column] - pooled.largest) / pooled.sum *
                                args.d_out.row(row)[channel];
        d_input[column] += d_weighted;
        d_input[width + column] += d_weighted * (input[column] - pooled.value);
      });
    }
  }
}

template void position_bias(const ops::PositionBiasArgs<float>&, platform::ThreadPool&) noexcept;
template void position_bias(const ops::PositionBiasArgs<double>&, platform::ThreadPool&) noexcept;
template void compress_pool(const ops::CompressPoolArgs<float>&, platform::ThreadPool&) noexcept;
template void compress_pool(const ops::CompressPoolArgs<double>&, platform::ThreadPool&) noexcept;
template void position_bias_backward(const ops::PositionBiasBackwardArgs<float>&,
                                     platform::ThreadPool&) noexcept;
template void position_bias_backward(const ops::PositionBiasBackwardArgs<double>&,
                                     platform::ThreadPool&) noexcept;
template void compress_pool_backward(const ops::CompressPoolBackwardArgs<float>&,
                                     platform::ThreadPool&) noexcept;
template void compress_pool_backward(const ops::CompressPoolBackwardArgs<double>&,
                                     platform::ThreadPool&) noexcept;

}  // namespace fathom::reference
