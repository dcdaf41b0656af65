#include "fathom/compute/ops/grouped_attention.h"

#include <algorithm>

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {

void grouped_attention(Context& context, const GroupedAttention& attention) {
  constexpr std::string_view kOp = "grouped_attention";
  const Index num_tokens = to_index(attention.num_visible.size());
  const Index row_width = attention.query.shape().last();
  require_shape(kOp, "query", attention.query, {num_tokens, row_width});
  require_shape(kOp, "out", attention.out, {num_tokens, row_width});
  require_equal(kOp, "width of values", attention.values.width, attention.keys.width);
  require_equal(kOp, "width of keys modulo head_dim", attention.keys.width % attention.head_dim, 0);
  require_equal(kOp, "width of query modulo width of keys", row_width % attention.keys.width, 0);
  Index most_rows = 1;
  for (const Index num_visible : attention.num_visible) {
    FATHOM_CHECK(num_visible >= 1 && num_visible <= attention.keys.num_rows);
    FATHOM_CHECK(num_visible <= attention.values.num_rows);
    most_rows = std::max(most_rows, num_visible);
  }
  const tensor::Arena::Scope scope(context.arena);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    const tensor::Tensor scratch =
        context.allocate({context.num_threads, GroupedAttentionArgs<Real>::scratch_columns(
                                                   attention.head_dim, most_rows)});
    kernels.grouped_attention.run({.query = attention.query.matrix<Real>(),
                                   .keys = attention.keys.table<Real>(),
                                   .values = attention.values.table<Real>(),
                                   .num_visible = attention.num_visible,
                                   .head_dim = attention.head_dim,
                                   .scale = attention.scale,
                                   .scratch = scratch.matrix<Real>(),
                                   .out = attention.out.matrix<Real>()},
                                  context.pool);
  });
}

}  // namespace fathom::ops
