#include "fathom/compute/ops/embed.h"

#include "fathom/compute/ops/kernel_table.h"

namespace fathom::ops {

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
  return out;
}

}  // namespace fathom::ops
