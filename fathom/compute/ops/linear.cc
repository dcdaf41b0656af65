#include "fathom/compute/ops/linear.h"

#include "fathom/compute/ops/int8_linear.h"
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
  if (uses_int8(context, weight)) {
    const tensor::Arena::Scope scope(context.arena);
    const Int8Rows rows = round_to_int8(context, x, weight.columns);
    with_kernels(context, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      kernels.int8_linear.run({.weight = weight,
                               .x = rows,
                               .out = out.matrix<Real>().slice_columns(first_column, weight.rows)},
                              context.pool);
    });
    return;
  }
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
  const bool is_int8 = uses_int8(context, weight);
  const tensor::Arena::Scope scope(context.arena);
  const Int8Rows rows = is_int8 ? round_to_int8(context, x, x.shape().last()) : Int8Rows{};
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    for (Index group = 0; group < num_groups; ++group) {
      const auto part = weight.slice_rows(group * group_rows, group_rows);
      const auto part_out = out.matrix<Real>().slice_columns(group * group_rows, group_rows);
      const Index first = group * weight.columns;
      if (is_int8) {
        kernels.int8_linear.run(
            {.weight = part, .x = slice_columns(rows, first, weight.columns), .out = part_out},
            context.pool);
      } else {
        kernels.linear.run({.weight = part,
                            .x = x.matrix<Real>().slice_columns(first, weight.columns),
                            .rounding = rounding,
                            .out = part_out},
                           context.pool);
      }
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
  if (uses_int8(context, weights.front())) {
    const tensor::Arena::Scope scope(context.arena);
    const Int8Rows rows = round_to_int8(context, x, weights.front().columns);
    with_kernels(context, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      kernels.expert_int8_linear.run({.weights = weights,
                                      .x = rows,
                                      .source = source,
                                      .offsets = offsets,
                                      .out = out.matrix<Real>()},
                                     context.pool);
    });
    return out;
  }
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
