#include "fathom/compute/ops/low_rank.h"

#include <algorithm>

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/linear.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {
namespace {

tensor::Tensor zeros(Context& context, const tensor::Shape& shape) {
  const tensor::Tensor tensor = context.allocate(shape);
  std::fill_n(static_cast<std::byte*>(tensor.raw()), tensor.num_bytes(), std::byte{0});
  return tensor;
}

// x *= scale, unrounded in every numerics.
void multiply_by(Context& context, const tensor::Tensor& x, double scale) {
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.scale.run(
        {.x = x.matrix<Real>(), .factor = static_cast<float>(scale), .rounding = Rounding::None},
        context.pool);
  });
}

void add(Context& context, const tensor::Tensor& update, const LowRankTarget& target) {
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    const auto rows = update.matrix<Real>();
    kernels.add_to_streams.run(
        {.shared = rows,
         .rounding = target.rounding,
         .each = target.y.matrix<Real>().slice_columns(target.first_column, rows.columns)},
        context.pool);
  });
}

// Products with parameters of an adapter are told to nobody: the whole op is recorded as one.
tensor::Tensor product(Context& context,
                       const numeric::WeightView& weight,
                       const tensor::Tensor& x,
                       Index num_groups = 1) {
  const RecorderScope silence(context, nullptr);
  return num_groups == 1 ? linear(context, weight, x, Products::Fp32)
                         : grouped_linear(context, weight, x, num_groups, Products::Fp32);
}

tensor::Tensor expert_product(Context& context,
                              std::span<const numeric::WeightView> weights,
                              const ExpertRows& rows) {
  const RecorderScope silence(context, nullptr);
  return expert_linear(context, weights, rows.x, rows.source, rows.offsets, Products::Fp32);
}

// The backward half of both products: from the gradient of y to those of b, a and x. `scaled`
// [T, G * r] is scale A x.
void backward_dense(Context& back,
                    Gradients& gradients,
                    const LowRankView& low_rank,
                    const tensor::Tensor& x,
                    const tensor::Tensor& scaled,
                    const LowRankTarget& target) {
  const Index rank = low_rank.a.rows;
  const Index num_groups = scaled.shape().last() / rank;
  const Index group_rows = low_rank.b.rows / num_groups;
  const tensor::Tensor d_scaled = zeros(back, scaled.shape());
  with_kernels(back, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    const auto d_y = gradients.of(target.y).matrix<Real>();
    const auto d_b = matrix_or_none<Real>(gradients.of(low_rank.b));
    for (Index group = 0; group < num_groups; ++group) {
      const Index row = group * group_rows;
      kernels.training.linear_backward.run(
          {.weight = low_rank.b.slice_rows(row, group_rows),
           .x = scaled.matrix<Real>().slice_columns(group * rank, rank),
           .d_out = d_y.slice_columns(target.first_column + row, group_rows),
           .d_x = d_scaled.matrix<Real>().slice_columns(group * rank, rank),
           .d_weight = d_b.data == nullptr ? d_b : d_b.slice_rows(row, group_rows)},
          back.pool);
    }
  });
  multiply_by(back, d_scaled, low_rank.scale);
  with_kernels(back, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.training.linear_backward.run(
        {.weight = low_rank.a,
         .x = x.matrix<Real>(low_rank.a.columns),
         .d_out = d_scaled.matrix<Real>(rank),
         .d_x = gradients.of(x).matrix<Real>(low_rank.a.columns),
         .d_weight = matrix_or_none<Real>(gradients.of(low_rank.a))},
        back.pool);
  });
}

template <typename Real>
std::span<const tensor::MatrixView<Real>> gradients_of(
    Context& back, Gradients& gradients, std::span<const numeric::WeightView> weights) {
  const auto views = back.arena.allocate_array<tensor::MatrixView<Real>>(to_index(weights.size()));
  std::transform(weights.begin(), weights.end(), views.begin(),
                 [&](const auto& weight) { return matrix_or_none<Real>(gradients.of(weight)); });
  return views;
}

void backward_experts(Context& back,
                      Gradients& gradients,
                      const LowRankExpertsView& low_rank,
                      const ExpertRows& rows,
                      const tensor::Tensor& scaled,
                      const LowRankTarget& target) {
  const tensor::Tensor d_scaled = zeros(back, scaled.shape());
  with_kernels(back, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.training.expert_linear_backward.run(
        {.weights = low_rank.b,
         .x = scaled.matrix<Real>(),
         .source = {},
         .offsets = rows.offsets,
         .d_out = gradients.of(target.y).matrix<Real>().slice_columns(target.first_column,
                                                                      low_rank.b.front().rows),
         .d_x = d_scaled.matrix<Real>(),
         .d_weights = gradients_of<Real>(back, gradients, low_rank.b)},
        back.pool);
  });
  multiply_by(back, d_scaled, low_rank.scale);
  with_kernels(back, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.training.expert_linear_backward.run(
        {.weights = low_rank.a,
         .x = rows.x.matrix<Real>(),
         .source = rows.source,
         .offsets = rows.offsets,
         .d_out = d_scaled.matrix<Real>(),
         .d_x = gradients.of(rows.x).matrix<Real>(),
         .d_weights = gradients_of<Real>(back, gradients, low_rank.a)},
        back.pool);
  });
}

void add_grouped(Context& context,
                 const LowRankView& low_rank,
                 const tensor::Tensor& x,
                 Index num_groups,
                 const LowRankTarget& target) {
  const Index rank = low_rank.a.rows;
  const Index num_tokens = x.num_elements() / (num_groups * low_rank.a.columns);
  require_equal("low_rank", "columns of x", x.shape().last(), num_groups * low_rank.a.columns);
  require_equal("low_rank", "columns of b", low_rank.b.columns, rank);
  require_equal("low_rank", "rows of y", target.y.dim(0), num_tokens);
  FATHOM_CHECK(target.first_column + low_rank.b.rows <= target.y.shape().last());
  const tensor::Tensor scaled =
      product(context, low_rank.a, x.reshape({num_tokens * num_groups, low_rank.a.columns}))
          .reshape({num_tokens, num_groups * rank});
  multiply_by(context, scaled, low_rank.scale);
  {
    const tensor::Arena::Scope scope(context.arena);
    add(context, product(context, low_rank.b, scaled, num_groups), target);
  }
  if (context.recorder != nullptr) [[unlikely]] {
    context.recorder->record("low_rank", {target.y}, [=](Context& back, Gradients& gradients) {
      backward_dense(back, gradients, low_rank, x, scaled, target);
    });
  }
}

}  // namespace

void add_low_rank(Context& context,
                  const LowRankView& low_rank,
                  const tensor::Tensor& x,
                  const LowRankTarget& target) {
  add_grouped(context, low_rank, x, 1, target);
}

void add_low_rank_grouped(Context& context,
                          const LowRankView& low_rank,
                          const tensor::Tensor& x,
                          Index num_groups,
                          const LowRankTarget& target) {
  require_equal("low_rank", "rows of b modulo groups", low_rank.b.rows % num_groups, 0);
  add_grouped(context, low_rank, x, num_groups, target);
}

void add_low_rank_experts(Context& context,
                          const LowRankExpertsView& low_rank,
                          const ExpertRows& rows,
                          const LowRankTarget& target) {
  require_equal("low_rank", "matrices of b", to_index(low_rank.b.size()),
                to_index(low_rank.a.size()));
  require_equal("low_rank", "rows of y", target.y.dim(0), rows.offsets.back());
  const tensor::Tensor scaled = expert_product(context, low_rank.a, rows);
  multiply_by(context, scaled, low_rank.scale);
  {
    const tensor::Arena::Scope scope(context.arena);
    add(context, expert_product(context, low_rank.b, {scaled, {}, rows.offsets}), target);
  }
  if (context.recorder != nullptr) [[unlikely]] {
    context.recorder->record("low_rank", {target.y}, [=](Context& back, Gradients& gradients) {
      backward_experts(back, gradients, low_rank, rows, scaled, target);
    });
  }
}

}  // namespace fathom::ops
