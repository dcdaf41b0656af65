#include "fathom/compute/ops/embed.h"

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"

namespace fathom::ops {
namespace {

void record_embed(Context& context,
                  const numeric::WeightView& table,
                  std::span<const std::int32_t> tokens,
                  const tensor::Tensor& out) {
  context.recorder->record("embed", {out}, [=](Context& back, Gradients& gradients) {
    const tensor::Tensor d_table = gradients.of(table);
    if (d_table.is_empty()) {
      return;
    }
    with_kernels(back, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      kernels.training.embed_backward.run({.tokens = tokens,
                                           .d_out = gradients.of(out).matrix<Real>(),
                                           .d_table = d_table.matrix<Real>()},
                                          back.pool);
    });
  });
}

}  // namespace

tensor::Tensor embed(Context& context,
                     const numeric::WeightView& table,
                     std::span<const std::int32_t> tokens) {
  for (std::size_t idx = 0; idx < tokens.size(); ++idx) {
    if (tokens[idx] < 0 || tokens[idx] >= table.rows) {
      fail(ErrorCode::InvalidArgument, "token ", idx, " of the step: id ", tokens[idx],
           ", expected 0 to ", table.rows - 1, " (the vocabulary has ", table.rows, " tokens)");
    }
  }
  tensor::Tensor out = context.allocate({to_index(tokens.size()), table.columns});
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.embed.run({.table = table, .tokens = tokens, .out = out.matrix<Real>()}, context.pool);
  });
  if (context.recorder != nullptr) [[unlikely]] {
    record_embed(context, table, tokens, out);
  }
  return out;
}

}  // namespace fathom::ops
