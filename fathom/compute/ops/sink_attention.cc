#include "fathom/compute/ops/sink_attention.h"

#include <algorithm>

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {

void sink_attention(Context& context, const SinkAttention& attention) {
  const Index num_tokens = to_index(attention.visible.size());
  const Index row_width = to_index(attention.sink.size()) * attention.window.width;
  require_shape("sink_attention", "query", attention.query, {num_tokens, row_width});
  require_shape("sink_attention", "out", attention.out, {num_tokens, row_width});
  Index most_rows = 1;
  for (const VisibleRows& visible : attention.visible) {
    FATHOM_CHECK(visible.first_window_row + visible.num_window_rows <= attention.window.num_rows);
    FATHOM_CHECK(!attention.selected.is_empty() ||
                 visible.first_compressed_row + visible.num_compressed_rows <=
                     attention.compressed.num_rows);
    most_rows = std::max(most_rows, visible.num_window_rows + visible.num_compressed_rows);
  }
  const tensor::Arena::Scope scope(context.arena);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    using Args = SinkAttentionArgs<Real>;
    const tensor::Tensor scratch =
        context.allocate({Args::scratch_rows(context.num_threads, to_index(attention.sink.size())),
                          Args::scratch_columns(attention.window.width, most_rows)});
    tensor::MatrixView<const std::int32_t> selected;
    if (!attention.selected.is_empty()) {
      selected = attention.selected.matrix<const std::int32_t>();
    }
    kernels.sink_attention.run({.query = attention.query.matrix<Real>(),
                                .window = attention.window.table<Real>(),
                                .compressed = attention.compressed.table<Real>(),
                                .selected = selected,
                                .visible = attention.visible,
                                .sink = attention.sink,
                                .scale = attention.scale,
                                .rounding = context.rounding(),
                                .scratch = scratch.matrix<Real>(),
                                .out = attention.out.matrix<Real>()},
                               context.pool);
  });
}

}  // namespace fathom::ops
