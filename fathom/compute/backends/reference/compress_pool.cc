#include <limits>

#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {
namespace {

// What a channel of a block pools: calls visit(value, gate) for its tokens in order of position.
template <typename Real, typename Visit>
void for_each_pooled(const ops::CompressPoolArgs<Real>& args,
                     Index block,
                     Index channel,
                     const Visit& visit) {
  const Index width = args.input.width / 2;  // values, then as many gates
  const Index start = block * args.block_tokens;
  if (args.has_overlap) {
    for (Index token = std::max<Index>(0, start - args.block_tokens); token < start; ++token) {
      const Real* row = args.input.row(token);
      visit(row[channel], row[width + channel]);
    }
  }
  const Index column = channel + (args.has_overlap ? width / 2 : 0);
  for (Index token = start; token < start + args.block_tokens; ++token) {
    const Real* row = args.input.row(token);
    visit(row[column], row[width + column]);
  }
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
      Real largest = -std::numeric_limits<Real>::infinity();
      for_each_pooled(args, args.first_block + row, channel,
                      [&](Real /*value*/, Real gate) { largest = std::max(largest, gate); });
      Real sum = 0;
      Real weighted = 0;
      for_each_pooled(args, args.first_block + row, channel, [&](Real value, Real gate) {
        const Real weight = std::exp(gate - largest);
        sum += weight;
        weighted += weight * value;
      });
      args.out.row(row)[channel] = rounded(weighted / sum, args.rounding);
    }
  }
}

template void position_bias(const ops::PositionBiasArgs<float>&, platform::ThreadPool&) noexcept;
template void position_bias(const ops::PositionBiasArgs<double>&, platform::ThreadPool&) noexcept;
template void compress_pool(const ops::CompressPoolArgs<float>&, platform::ThreadPool&) noexcept;
template void compress_pool(const ops::CompressPoolArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference
