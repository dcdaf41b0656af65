#include "fathom/compute/ops/sink_attention.h"

#include <algorithm>

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"
#include "fathom/compute/ops/sink_attention_operands.h"

namespace fathom::ops {

namespace {

void record_sink_attention(Context& context, const SinkAttention& attention, Index most_rows) {
  context.recorder->record(
      "sink_attention", {attention.out}, [=](Context& back, Gradients& gradients) {
        with_kernels(back, [&](auto real, const auto& kernels) {
          using Real = decltype(real);
          const tensor::Tensor scratch =
              back.allocate({1, SinkAttentionBackwardArgs<Real>::scratch_columns(
                                    to_index(attention.sink.size()), most_rows,
                                    to_index(attention.visible.size()))});
          kernels.training.sink_attention_backward.run(
              {.forward = sink_attention_operands<Real>(attention, Rounding::None),
               .most_rows = most_rows,
               .d_out = gradients.of(attention.out).matrix<Real>(),
               .scratch = scratch.matrix<Real>(),
               .d_query = gradients.of(attention.query).matrix<Real>(),
               .d_window = gradients.of(attention.window).table<Real>(),
               .d_compressed = gradients.of(attention.compressed).table<Real>(),
               .d_sink = data_or_none<Real>(gradients.of(attention.sink))},
              back.pool);
        });
      });
}

}  // namespace

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
  {
    const tensor::Arena::Scope scope(context.arena);
    with_kernels(context, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      using Args = SinkAttentionArgs<Real>;
      const tensor::Tensor scratch = context.allocate(
          {Args::scratch_rows(context.num_threads, to_index(attention.sink.size())),
           Args::scratch_columns(attention.window.width, most_rows)});
      Args args = sink_attention_operands<Real>(attention, context.rounding());
      args.scratch = scratch.matrix<Real>();
      args.out = attention.out.matrix<Real>();
      kernels.sink_attention.run(args, context.pool);
    });
  }
  if (context.recorder != nullptr) [[unlikely]] {
    record_sink_attention(context, attention, most_rows);
  }
}

}  // namespace fathom::ops
