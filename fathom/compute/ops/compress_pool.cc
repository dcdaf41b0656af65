#include "fathom/compute/ops/compress_pool.h"

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {
namespace {

void record_position_bias(Context& context,
                          const tensor::Tensor& rows,
                          std::span<const Index> positions,
                          std::span<const float> bias,
                          Index block_tokens) {
  context.recorder->record("add_position_bias", {rows}, [=](Context& back, Gradients& gradients) {
    const tensor::Tensor d_bias = gradients.of(bias);
    if (d_bias.is_empty()) {
      return;
    }
    with_kernels(back, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      kernels.training.position_bias_backward.run(
          {.d_rows = gradients.of(rows).matrix<Real>(),
           .positions = positions,
           .block_tokens = block_tokens,
           .d_bias = d_bias.matrix<Real>(to_index(bias.size()) / block_tokens)},
          back.pool);
    });
  });
}

void record_compress_pool(Context& context,
                          const tensor::PagedRows& input,
                          Index first_block,
                          Index block_tokens,
                          bool has_overlap,
                          const tensor::Tensor& out) {
  context.recorder->record("compress_pool", {out}, [=](Context& back, Gradients& gradients) {
    with_kernels(back, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      kernels.training.compress_pool_backward.run({.input = input.table<Real>(),
                                                   .first_block = first_block,
                                                   .block_tokens = block_tokens,
                                                   .has_overlap = has_overlap,
                                                   .d_out = gradients.of(out).matrix<Real>(),
                                                   .d_input = gradients.of(input).table<Real>()},
                                                  back.pool);
    });
  });
}

}  // namespace

void add_position_bias(Context& context,
                       const tensor::Tensor& rows,
                       std::span<const Index> positions,
                       std::span<const float> bias,
                       Index block_tokens) {
  require_equal("add_position_bias", "rows", rows.dim(0), to_index(positions.size()));
  require_equal("add_position_bias", "twice the bias", 2 * to_index(bias.size()),
                rows.dim(1) * block_tokens);
  save_if_recording(context, rows);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.position_bias.run({.rows = rows.matrix<Real>(),
                               .positions = positions,
                               .bias = bias,
                               .block_tokens = block_tokens},
                              context.pool);
  });
  if (context.recorder != nullptr) [[unlikely]] {
    record_position_bias(context, rows, positions, bias, block_tokens);
  }
}

tensor::Tensor compress_pool(Context& context,
                             const tensor::PagedRows& input,
                             Index first_block,
                             Index num_blocks,
                             Index block_tokens,
                             bool has_overlap) {
  const Index parts = has_overlap ? 4 : 2;  // value and gate, each for one or two blocks
  require_equal("compress_pool", "input width modulo its parts", input.width % parts, 0);
  FATHOM_CHECK((first_block + num_blocks) * block_tokens <= input.num_rows);
  tensor::Tensor out = context.allocate({num_blocks, input.width / parts});
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.compress_pool.run({.input = input.table<Real>(),
                               .first_block = first_block,
                               .block_tokens = block_tokens,
                               .has_overlap = has_overlap,
                               .rounding = context.rounding(),
                               .out = out.matrix<Real>()},
                              context.pool);
  });
  if (context.recorder != nullptr) [[unlikely]] {
    record_compress_pool(context, input, first_block, block_tokens, has_overlap, out);
  }
  return out;
}

}  // namespace fathom::ops
