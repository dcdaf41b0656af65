#include "fathom/compute/ops/grouped_attention.h"

#include <algorithm>

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {

namespace {

template <typename Real>
GroupedAttentionArgs<Real> operands_of(const GroupedAttention& attention) {
  return {.query = attention.query.matrix<Real>(),
          .keys = attention.keys,
          .values = attention.values,
          .num_visible = attention.num_visible,
          .head_dim = attention.head_dim,
          .scale = attention.scale,
          .out = attention.out.matrix<Real>()};
}

void check(const GroupedAttention& attention) {
  constexpr std::string_view kOp = "grouped_attention";
  const Index num_tokens = to_index(attention.num_visible.size());
  const Index row_width = attention.query.shape().last();
  require_shape(kOp, "query", attention.query, {num_tokens, row_width});
  require_shape(kOp, "out", attention.out, {num_tokens, row_width});
  require_equal(kOp, "width of values", attention.values.width, attention.keys.width);
  FATHOM_CHECK(attention.keys.dtype == attention.values.dtype);
  require_equal(kOp, "width of keys modulo head_dim", attention.keys.width % attention.head_dim, 0);
  require_equal(kOp, "width of query modulo width of keys", row_width % attention.keys.width, 0);
  const std::span<const Index> num_visible = attention.num_visible;
  FATHOM_CHECK(!num_visible.empty() && num_visible.front() >= 1);
  FATHOM_CHECK(std::is_sorted(num_visible.begin(), num_visible.end()));
  FATHOM_CHECK(num_visible.back() <= attention.keys.num_rows);
  FATHOM_CHECK(num_visible.back() <= attention.values.num_rows);
}

void record_grouped_attention(Context& context, const GroupedAttention& attention) {
  const Index most_rows = attention.num_visible.back();
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

void grouped_attention(Context& context, std::span<const GroupedAttention> sequences) {
  FATHOM_CHECK(!sequences.empty());
  const GroupedAttention& first = sequences.front();
  for (const GroupedAttention& attention : sequences) {
    check(attention);
    FATHOM_CHECK(attention.head_dim == first.head_dim && attention.keys.width == first.keys.width);
  }
  {
    const tensor::Arena::Scope scope(context.arena);
    with_kernels(context, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      const auto operands =
          context.arena.allocate_array<GroupedAttentionArgs<Real>>(to_index(sequences.size()));
      std::transform(sequences.begin(), sequences.end(), operands.begin(), operands_of<Real>);
      Index columns = 0;
      for (const GroupedAttentionArgs<Real>& sequence : operands) {
        columns = std::max(columns, sequence.scratch_columns());
      }
      const tensor::Tensor scratch = context.allocate({context.num_threads, columns});
      kernels.grouped_attention.run({.sequences = operands, .scratch = scratch.matrix<Real>()},
                                    context.pool);
    });
  }
  if (context.recorder != nullptr) [[unlikely]] {
    for (const GroupedAttention& attention : sequences) {
      record_grouped_attention(context, attention);
    }
  }
}

}  // namespace fathom::ops
