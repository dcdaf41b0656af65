#include "fathom/compute/ops/compress_pool.h"

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {

void add_position_bias(Context& context,
                       const tensor::Tensor& rows,
                       std::span<const Index> positions,
                       std::span<const float> bias,
                       Index block_tokens) {
  require_equal("add_position_bias", "rows", rows.dim(0), to_index(positions.size()));
  require_equal("add_position_bias", "twice the bias", 2 * to_index(bias.size()),
                rows.dim(1) * block_tokens);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.position_bias.run({.rows = rows.matrix<Real>(),
                               .positions = positions,
                               .bias = bias,
                               .block_tokens = block_tokens},
                              context.pool);
  });
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
  return out;
}

}  // namespace fathom::ops
