#include "fathom/compute/ops/grouped_attention.h"

#include <algorithm>

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {

namespace {

// What a kernel reads; its scratch and out are the caller's.
template <typename Real>
GroupedAttentionArgs<Real> operands_of(const GroupedAttention& attention) {
  return {.query = attention.query.matrix<Real>(),
          .keys = attention.keys.table<Real>(),
          .values = attention.values.table<Real>(),
          .num_visible = attention.num_visible,
          .head_dim = attention.head_dim,
          .scale = attention.scale,
          .scratch = {},
          .out = {}};
}

void record_grouped_attention(Context& context,
                              const GroupedAttention& attention,
                              Index most_rows) {
  context.recorder->record(
      "grouped_attention", {attention.out}, [=](Context& back, Gradients& gradients) {
        with_kernels(back, [&](auto real, const auto& kernels) {
          using Real = decltype(real);
          const auto query = attention.query.matrix<Real>();
          const tensor::Tensor scratch =
              back.allocate({1, GroupedAttentionBackwardArgs<Real>::scratch_columns(
                                    query.columns / attention.head_dim, most_rows, query.rows)});
          kernels.training.grouped_attention_backward.run(
              {.forward = operands_of<Real>(attention),
               .most_rows = most_rows,
               .d_out = gradients.of(attention.out).matrix<Real>(),
               .scratch = scratch.matrix<Real>(),
               .d_query = gradients.of(attention.query).matrix<Real>(),
               .d_keys = gradients.of(attention.keys).table<Real>(),
               .d_values = gradients.of(attention.values).table<Real>()},
              back.pool);
        });
      });
}

}  // namespace

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
  {
    const tensor::Arena::Scope scope(context.arena);
    with_kernels(context, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      const tensor::Tensor scratch =
          context.allocate({context.num_threads, GroupedAttentionArgs<Real>::scratch_columns(
                                                     attention.head_dim, most_rows)});
      GroupedAttentionArgs<Real> args = operands_of<Real>(attention);
      args.scratch = scratch.matrix<Real>();
      args.out = attention.out.matrix<Real>();
      kernels.grouped_attention.run(args, context.pool);
    });
  }
  if (context.recorder != nullptr) [[unlikely]] {
    record_grouped_attention(context, attention, most_rows);
  }
}

}  // namespace fathom::ops
