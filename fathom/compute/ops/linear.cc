#include "fathom/compute/ops/linear.h"

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {

tensor::Tensor linear(Context& context,
                      const numeric::WeightView& weight,
                      const tensor::Tensor& x,
                      Rounding rounding) {
  tensor::Tensor out = context.allocate({x.num_elements() / weight.columns, weight.rows});
  linear_into(context, weight, x, rounding, out, 0);
  return out;
}

void linear_into(Context& context,
                 const numeric::WeightView& weight,
                 const tensor::Tensor& x,
                 Rounding rounding,
                 const tensor::Tensor& out,
                 Index first_column) {
  require_equal("linear", "columns of x", x.shape().last(), weight.columns);
  require_equal("linear", "rows of out", out.dim(0), x.num_elements() / weight.columns);
  FATHOM_CHECK(first_column + weight.rows <= out.dim(1));
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.linear.run({.weight = weight,
                        .x = x.matrix<Real>(),
                        .rounding = rounding,
                        .out = out.matrix<Real>().slice_columns(first_column, weight.rows)},
                       context.pool);
  });
}

tensor::Tensor grouped_linear(Context& context,
                              const numeric::WeightView& weight,
                              const tensor::Tensor& x,
                              Index num_groups,
                              Rounding rounding) {
  require_equal("grouped_linear", "columns of x", x.shape().last(), num_groups * weight.columns);
  require_equal("grouped_linear", "rows of the weight modulo groups", weight.rows % num_groups, 0);
  const Index group_rows = weight.rows / num_groups;
  tensor::Tensor out = context.allocate({x.dim(0), weight.rows});
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    for (Index group = 0; group < num_groups; ++group) {
      kernels.linear.run(
          {.weight = weight.slice_rows(group * group_rows, group_rows),
           .x = x.matrix<Real>().slice_columns(group * weight.columns, weight.columns),
           .rounding = rounding,
           .out = out.matrix<Real>().slice_columns(group * group_rows, group_rows)},
          context.pool);
    }
  });
  return out;
}

tensor::Tensor expert_linear(Context& context,
                             std::span<const numeric::WeightView> weights,
                             const tensor::Tensor& x,
                             std::span<const std::int32_t> source,
                             std::span<const std::int32_t> offsets,
                             Rounding rounding) {
  require_equal("expert_linear", "offsets", to_index(offsets.size()), to_index(weights.size()) + 1);
  require_equal("expert_linear", "columns of x", x.shape().last(), weights.front().columns);
  FATHOM_CHECK(to_index(source.size()) == offsets.back() ||
               (source.empty() && x.dim(0) == offsets.back()));
  tensor::Tensor out = context.allocate({offsets.back(), weights.front().rows});
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.expert_linear.run({.weights = weights,
                               .x = x.matrix<Real>(),
                               .source = source,
                               .offsets = offsets,
                               .rounding = rounding,
                               .out = out.matrix<Real>()},
                              context.pool);
  });
  return out;
}

}  // namespace fathom::ops
