#include "fathom/compute/ops/linear.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "fathom/compute/numeric/int8_blocks.h"
#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"
#include "fathom/compute/ops/round_trip.h"

namespace fathom::ops {
namespace {

std::span<std::byte> allocate_scratch(Context& context,
                                      Index columns,
                                      Index num_slots,
                                      Index num_matrices) {
  const Index num_bytes = linear_scratch_bytes(columns, num_slots, num_matrices);
  return {context.arena.allocate(num_bytes), to_size(num_bytes)};
}

// Weights that one loop over a single token takes.
constexpr Index kMostWeights = 64;

Int8Rows rounded_rows(Context& context, const LinearInput& input, Index columns) {
  return input.is_rounded() ? input.rounded() : round_to_int8(context, input.x(), columns);
}

tensor::Tensor round_to_bf16(Context& context, const tensor::Tensor& x) {
  refuse_recording(context, "linear with FP8 weights (numerics fast)");
  return rounded_trip(context, x, x.shape().last(), RoundTripFormat::Bf16);
}

// What a weight that is not multiplied as int8 blocks meets.
struct Operand {
  tensor::Tensor x;
  Products products;
};
Operand operand_of(Context& context,
                   const numeric::WeightView& weight,
                   const LinearInput& input,
                   Products products) {
  if (!uses_bf16(context, weight)) {
    return {input.x(), products};
  }
  return {input.bf16() ? *input.bf16() : round_to_bf16(context, input.x()), Products::Bf16Operands};
}

// out[i] = weights[i] x[source[i]]: experts with a slot each, so one loop computes all of them.
// Without a source, weight i has row i.
void multiply_each(Context& context,
                   std::span<const numeric::WeightView> weights,
                   const LinearInput& input,
                   std::span<const std::int32_t> source,
                   Products products,
                   const tensor::Tensor& out) {
  const Index columns = weights.front().columns;
  std::array<std::int32_t, to_size(kMostWeights) + 1> offsets;
  std::iota(offsets.begin(), offsets.end(), 0);
  const std::span slots(offsets.data(), weights.size() + 1);
  const bool is_int8 = uses_int8(context, weights.front());
  const auto scratch = is_int8 ? std::span<std::byte>{}
                               : allocate_scratch(context, columns, to_index(weights.size()),
                                                  to_index(weights.size()));
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    const auto results = out.matrix<Real>(weights.front().rows);
    if (is_int8) {
      kernels.expert_int8_linear.run({.weights = weights,
                                      .x = rounded_rows(context, input, columns),
                                      .source = source,
                                      .offsets = slots,
                                      .out = results},
                                     context.pool);
    } else {
      const Operand operand = operand_of(context, weights.front(), input, products);
      kernels.expert_linear.run({.weights = weights,
                                 .x = operand.x.matrix<Real>(columns),
                                 .source = source,
                                 .offsets = slots,
                                 .products = operand.products,
                                 .out = results,
                                 .scratch = scratch},
                                context.pool);
    }
  });
}

// The weights cut into parts of equally many rows, in step memory; none where they are not
// multiplied alike or the parts would be too many for one loop.
std::span<const numeric::WeightView> parts_of_one_shape(
    Context& context, std::span<const numeric::WeightView> weights) {
  Index part_rows = 0;
  Index num_rows = 0;
  bool is_alike = true;
  for (const numeric::WeightView& weight : weights) {
    part_rows = std::gcd(part_rows, weight.rows);
    num_rows += weight.rows;
    is_alike = is_alike && uses_int8(context, weight) == uses_int8(context, weights.front()) &&
               uses_bf16(context, weight) == uses_bf16(context, weights.front());
  }
  const Index num_parts = num_rows / part_rows;
  const bool is_cut = num_parts > to_index(weights.size());
  if (!is_alike || num_parts > kMostWeights || (is_cut && part_rows % numeric::kPanelRows != 0)) {
    return {};
  }
  const auto parts = context.arena.allocate_array<numeric::WeightView>(num_parts);
  auto part = parts.begin();
  for (const numeric::WeightView& weight : weights) {
    for (Index row = 0; row < weight.rows; row += part_rows) {
      *part++ = weight.slice_rows(row, part_rows);
    }
  }
  return parts;
}

void record_linear(Context& context,
                   const numeric::WeightView& weight,
                   const tensor::Tensor& x,
                   const tensor::Tensor& out,
                   Index first_column) {
  context.recorder->record("linear", {out}, [=](Context& back, Gradients& gradients) {
    with_kernels(back, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      const auto d_out = gradients.of(out).matrix<Real>();
      kernels.training.linear_backward.run({.weight = weight,
                                            .x = x.matrix<Real>(),
                                            .d_out = d_out.slice_columns(first_column, weight.rows),
                                            .d_x = gradients.of(x).matrix<Real>(),
                                            .d_weight = matrix_or_none<Real>(gradients.of(weight)),
                                            .operands = back.gradient_operands},
                                           back.pool);
    });
  });
}

void record_grouped_linear(Context& context,
                           const numeric::WeightView& weight,
                           const tensor::Tensor& x,
                           Index num_groups,
                           const tensor::Tensor& out) {
  context.recorder->record("grouped_linear", {out}, [=](Context& back, Gradients& gradients) {
    const Index group_rows = weight.rows / num_groups;
    with_kernels(back, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      const auto d_weight = matrix_or_none<Real>(gradients.of(weight));
      for (Index group = 0; group < num_groups; ++group) {
        const Index row = group * group_rows;
        const Index column = group * weight.columns;
        kernels.training.linear_backward.run(
            {.weight = weight.slice_rows(row, group_rows),
             .x = x.matrix<Real>().slice_columns(column, weight.columns),
             .d_out = gradients.of(out).matrix<Real>().slice_columns(row, group_rows),
             .d_x = gradients.of(x).matrix<Real>().slice_columns(column, weight.columns),
             .d_weight = d_weight.data == nullptr ? d_weight : d_weight.slice_rows(row, group_rows),
             .operands = back.gradient_operands},
            back.pool);
      }
    });
  });
}

void record_expert_linear(Context& context,
                          std::span<const numeric::WeightView> weights,
                          const tensor::Tensor& x,
                          std::span<const std::int32_t> source,
                          std::span<const std::int32_t> offsets,
                          const tensor::Tensor& out) {
  context.recorder->record("expert_linear", {out}, [=](Context& back, Gradients& gradients) {
    with_kernels(back, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      // Experts without a token too: their gradient is zero, not absent.
      const auto d_weights =
          back.arena.allocate_array<tensor::MatrixView<Real>>(to_index(weights.size()));
      std::transform(weights.begin(), weights.end(), d_weights.begin(), [&](const auto& weight) {
        return matrix_or_none<Real>(gradients.of(weight));
      });
      kernels.training.expert_linear_backward.run({.weights = weights,
                                                   .x = x.matrix<Real>(),
                                                   .source = source,
                                                   .offsets = offsets,
                                                   .d_out = gradients.of(out).matrix<Real>(),
                                                   .d_x = gradients.of(x).matrix<Real>(),
                                                   .d_weights = d_weights,
                                                   .operands = back.gradient_operands},
                                                  back.pool);
    });
  });
}

// Without recording.
void multiply(Context& context,
              const numeric::WeightView& weight,
              const LinearInput& input,
              Products products,
              const tensor::Tensor& out,
              Index first_column) {
  const tensor::Arena::Scope scope(context.arena);
  if (uses_int8(context, weight)) {
    const Int8Rows rows = rounded_rows(context, input, weight.columns);
    with_kernels(context, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      kernels.int8_linear.run({.weight = weight,
                               .x = rows,
                               .out = out.matrix<Real>().slice_columns(first_column, weight.rows)},
                              context.pool);
    });
    return;
  }
  const auto scratch = allocate_scratch(context, weight.columns, out.dim(0), 1);
  const Operand operand = operand_of(context, weight, input, products);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.linear.run({.weight = weight,
                        .x = operand.x.matrix<Real>(),
                        .products = operand.products,
                        .out = out.matrix<Real>().slice_columns(first_column, weight.rows),
                        .scratch = scratch},
                       context.pool);
  });
}

// Without recording.
void multiply_grouped(Context& context,
                      const numeric::WeightView& weight,
                      const tensor::Tensor& x,
                      Index num_groups,
                      Products products,
                      const tensor::Tensor& out) {
  const Index group_rows = weight.rows / num_groups;
  const tensor::Arena::Scope scope(context.arena);
  if (x.dim(0) == 1 && num_groups <= kMostWeights) {
    std::array<numeric::WeightView, to_size(kMostWeights)> parts;
    for (Index group = 0; group < num_groups; ++group) {
      parts[to_size(group)] = weight.slice_rows(group * group_rows, group_rows);
    }
    multiply_each(context, {parts.data(), to_size(num_groups)},
                  x.reshape({num_groups, weight.columns}), {}, products, out);
    return;
  }
  const bool is_int8 = uses_int8(context, weight);
  const Int8Rows rows = is_int8 ? round_to_int8(context, x, x.shape().last()) : Int8Rows{};
  const auto scratch = allocate_scratch(context, weight.columns, x.dim(0), 1);
  const Operand operand = operand_of(context, weight, x, products);
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
                            .x = operand.x.matrix<Real>().slice_columns(first, weight.columns),
                            .products = operand.products,
                            .out = part_out,
                            .scratch = scratch},
                           context.pool);
      }
    }
  });
}

// Where the products of experts go, and how.
struct ExpertOutputs {
  Products products;
  tensor::Tensor out;
};

// Without recording.
void multiply_experts(Context& context,
                      std::span<const numeric::WeightView> weights,
                      const LinearInput& input,
                      std::span<const std::int32_t> source,
                      std::span<const std::int32_t> offsets,
                      const ExpertOutputs& outputs) {
  const tensor::Arena::Scope scope(context.arena);
  if (uses_int8(context, weights.front())) {
    const Int8Rows rows = rounded_rows(context, input, weights.front().columns);
    with_kernels(context, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      kernels.expert_int8_linear.run({.weights = weights,
                                      .x = rows,
                                      .source = source,
                                      .offsets = offsets,
                                      .out = outputs.out.matrix<Real>()},
                                     context.pool);
    });
    return;
  }
  const auto scratch =
      allocate_scratch(context, weights.front().columns, offsets.back(), to_index(weights.size()));
  const Operand operand = operand_of(context, weights.front(), input, outputs.products);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.expert_linear.run({.weights = weights,
                               .x = operand.x.matrix<Real>(),
                               .source = source,
                               .offsets = offsets,
                               .products = operand.products,
                               .out = outputs.out.matrix<Real>(),
                               .scratch = scratch},
                              context.pool);
  });
}

}  // namespace

LinearInput::LinearInput(Context& context,
                         const numeric::WeightView& weight,
                         const tensor::Tensor& x)
    : x_(x),
      bf16_(uses_bf16(context, weight) ? std::optional(round_to_bf16(context, x)) : std::nullopt),
      rounded_(uses_int8(context, weight) ? round_to_int8(context, x, weight.columns)
                                          : Int8Rows{}) {}

bool uses_bf16(const Context& context, const numeric::WeightView& weight) {
  return context.numerics == Numerics::Fast && weight.format == numeric::WeightFormat::Fp8;
}

Index linear_scratch_bytes(Index columns, Index num_slots, Index num_matrices) {
  constexpr Index kColumns = 32;
  constexpr Index kBf16Bytes = 2;
  const Index num_groups = std::min(
      kScratchGroups, ceil_div(num_slots, kScratchGroupSlots) + std::min(num_slots, num_matrices));
  return num_groups * kScratchGroupSlots * ceil_div(columns, kColumns) * kColumns * kBf16Bytes;
}

tensor::Tensor linear(Context& context,
                      const numeric::WeightView& weight,
                      const LinearInput& input,
                      Products products) {
  tensor::Tensor out = context.allocate({input.x().num_elements() / weight.columns, weight.rows});
  linear_into(context, weight, input, products, out, 0);
  return out;
}

void linear_into(Context& context,
                 const numeric::WeightView& weight,
                 const LinearInput& input,
                 Products products,
                 const tensor::Tensor& out,
                 Index first_column) {
  const tensor::Tensor& x = input.x();
  require_equal("linear", "columns of x", x.shape().last(), weight.columns);
  require_equal("linear", "rows of out", out.dim(0), x.num_elements() / weight.columns);
  FATHOM_CHECK(first_column + weight.rows <= out.dim(1));
  multiply(context, weight, input, products, out, first_column);
  if (context.recorder != nullptr) [[unlikely]] {
    record_linear(context, weight, x, out, first_column);
  }
}

void linear_side_by_side(Context& context,
                         std::span<const numeric::WeightView> weights,
                         const LinearInput& input,
                         Products products,
                         const tensor::Tensor& out) {
  const Index num_tokens = input.x().dim(0);
  Index num_rows = 0;
  for (const numeric::WeightView& weight : weights) {
    require_equal("linear_side_by_side", "columns of a weight", weight.columns,
                  input.x().shape().last());
    num_rows += weight.rows;
  }
  require_shape("linear_side_by_side", "out", out, {num_tokens, num_rows});
  if (num_tokens == 1 && context.recorder == nullptr) {
    const tensor::Arena::Scope scope(context.arena);
    const auto parts = parts_of_one_shape(context, weights);
    if (!parts.empty()) {
      const auto source = context.arena.allocate_array<std::int32_t>(to_index(parts.size()));
      std::fill(source.begin(), source.end(), 0);
      multiply_each(context, parts, input, source, products, out);
      return;
    }
  }
  Index first_column = 0;
  for (const numeric::WeightView& weight : weights) {
    linear_into(context, weight, input, products, out, first_column);
    first_column += weight.rows;
  }
}

tensor::Tensor grouped_linear(Context& context,
                              const numeric::WeightView& weight,
                              const tensor::Tensor& x,
                              Index num_groups,
                              Products products) {
  require_equal("grouped_linear", "columns of x", x.shape().last(), num_groups * weight.columns);
  require_equal("grouped_linear", "rows of the weight modulo groups", weight.rows % num_groups, 0);
  tensor::Tensor out = context.allocate({x.dim(0), weight.rows});
  multiply_grouped(context, weight, x, num_groups, products, out);
  if (context.recorder != nullptr) [[unlikely]] {
    record_grouped_linear(context, weight, x, num_groups, out);
  }
  return out;
}

bool are_multiplied_alike(const numeric::WeightView& a, const numeric::WeightView& b) {
  return a.rows == b.rows && a.columns == b.columns &&
         numeric::has_int8_blocks(a.format) == numeric::has_int8_blocks(b.format) &&
         (a.format == numeric::WeightFormat::Fp8) == (b.format == numeric::WeightFormat::Fp8);
}

tensor::Tensor expert_linear(Context& context,
                             std::span<const numeric::WeightView> weights,
                             const LinearInput& input,
                             std::span<const std::int32_t> source,
                             std::span<const std::int32_t> offsets,
                             Products products) {
  const tensor::Tensor& x = input.x();
  require_equal("expert_linear", "offsets", to_index(offsets.size()), to_index(weights.size()) + 1);
  require_equal("expert_linear", "columns of x", x.shape().last(), weights.front().columns);
  FATHOM_CHECK(to_index(source.size()) == offsets.back() ||
               (source.empty() && x.dim(0) == offsets.back()));
  tensor::Tensor out = context.allocate({offsets.back(), weights.front().rows});
  multiply_experts(context, weights, input, source, offsets, {products, out});
  if (context.recorder != nullptr) [[unlikely]] {
    record_expert_linear(context, weights, x, source, offsets, out);
  }
  return out;
}

}  // namespace fathom::ops
