// Pools the tokens of a block into one row by a softmax per channel (specification 3.5).
#pragma once

#include <span>

#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// rows[t, W + c] += bias[position mod m, c]: the learned bias of a gate, by place in its block.
//
//   rows       [T, value W | gate W], in place
//   positions  [T]
//   bias       [m, W]
template <typename Real>
struct PositionBiasArgs {
  tensor::MatrixView<Real> rows;
  std::span<const Index> positions;
  std::span<const float> bias;
  Index block_tokens;  // m
};
// d_bias[positions[t] mod m, c] += d_rows[t, W + c]; the gradient of the rows stays what it is.
//
//   d_rows  [T, value W | gate W]   d_bias  [m, W]
template <typename Real>
struct PositionBiasBackwardArgs {
  tensor::MatrixView<const Real> d_rows;
  std::span<const Index> positions;
  Index block_tokens;  // m
  tensor::MatrixView<Real> d_bias;
};
void add_position_bias(Context& context,
                       const tensor::Tensor& rows,
                       std::span<const Index> positions,
                       std::span<const float> bias,
                       Index block_tokens);

// Without overlap, per channel c:
//   out[j, c] = sum_i softmax_i(gate[j m + i, c]) value[j m + i, c],  i in [0, m)
// With overlap the softmax runs over the block before (first half of the columns) and the block
// itself (second half); the block before block 0 does not exist.
//
//   input  rows of tokens, [value W | gate W]; W is D, or 2 D with overlap
//   out    [num_blocks, D], block first_block first
template <typename Real>
struct CompressPoolArgs {
  tensor::RowTable<Real> input;
  Index first_block;
  Index block_tokens;  // m
  bool has_overlap;
  Rounding rounding;
  tensor::MatrixView<Real> out;
};
// With p the softmax of a channel: d_value[i] += p[i] d_out,
// d_gate[i] += p[i] (value[i] - out) d_out.
//
//   input, d_input  rows of tokens   d_out  [num_blocks, D]
template <typename Real>
struct CompressPoolBackwardArgs {
  tensor::RowTable<Real> input;
  Index first_block;
  Index block_tokens;
  bool has_overlap;
  tensor::MatrixView<const Real> d_out;
  tensor::WritableRowTable<Real> d_input;
};
tensor::Tensor compress_pool(Context& context,
                             const tensor::PagedRows& input,
                             Index first_block,
                             Index num_blocks,
                             Index block_tokens,
                             bool has_overlap);

}  // namespace fathom::ops
