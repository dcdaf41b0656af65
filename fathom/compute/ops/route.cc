#include "fathom/compute/ops/route.h"

#include <algorithm>

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {
namespace {

Routes allocate_routes(Context& context, Index num_tokens, Index num_chosen) {
  return {tensor::Tensor::allocate(context.arena, tensor::DType::I32, {num_tokens, num_chosen}),
          context.allocate({num_tokens, num_chosen})};
}

void record_route(Context& context,
                  const tensor::Tensor& logits,
                  double scale,
                  const Routes& routes) {
  context.recorder->record("route", {routes.weights}, [=](Context& back, Gradients& gradients) {
    with_kernels(back, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      kernels.training.route_backward.run({.logits = logits.matrix<Real>(),
                                           .ids = routes.ids.matrix<const std::int32_t>(),
                                           .scale = scale,
                                           .d_weights = gradients.of(routes.weights).matrix<Real>(),
                                           .d_logits = gradients.of(logits).matrix<Real>()},
                                          back.pool);
    });
  });
}

void record_scatter(Context& context,
                    const tensor::Tensor& values,
                    const tensor::Tensor& slot_of,
                    const tensor::Tensor& out) {
  context.recorder->record("scatter_to_slots", {out}, [=](Context& back, Gradients& gradients) {
    const auto slots = int_span(slot_of);
    with_kernels(back, [&](auto real, const auto& /*kernels*/) {
      using Real = decltype(real);
      const Real* d_out = gradients.of(out).data<Real>();
      Real* d_values = gradients.of(values).data<Real>();
      for (std::size_t idx = 0; idx < slots.size(); ++idx) {
        d_values[idx] += d_out[slots[idx]];
      }
    });
  });
}

void record_combine(Context& context,
                    const tensor::Tensor& slots,
                    const tensor::Tensor& slot_of,
                    const tensor::Tensor& shared,
                    const tensor::Tensor& out) {
  context.recorder->record("combine_experts", {out}, [=](Context& back, Gradients& gradients) {
    with_kernels(back, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      kernels.training.combine_experts_backward.run(
          {.slot_of = slot_of.matrix<const std::int32_t>(),
           .d_out = gradients.of(out).matrix<Real>(),
           .d_slots = gradients.of(slots).matrix<Real>(),
           .d_shared = gradients.of(shared).matrix<Real>()},
          back.pool);
    });
  });
}

}  // namespace

Routes route_top_k(Context& context,
                   const tensor::Tensor& logits,
                   std::span<const float> bias,
                   Index num_chosen,
                   double scale) {
  require_equal("route_top_k", "columns of logits", logits.shape().last(), to_index(bias.size()));
  FATHOM_CHECK(num_chosen <= to_index(bias.size()));
  const Routes routes = allocate_routes(context, logits.dim(0), num_chosen);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.route.run({.logits = logits.matrix<Real>(),
                       .bias = bias,
                       .table = {},
                       .tokens = {},
                       .scale = scale,
                       .ids = routes.ids.matrix<std::int32_t>(),
                       .weights = routes.weights.matrix<Real>()},
                      context.pool);
  });
  if (context.recorder != nullptr) [[unlikely]] {
    record_route(context, logits, scale, routes);
  }
  return routes;
}

Routes route_by_table(Context& context,
                      const tensor::Tensor& logits,
                      std::span<const std::int32_t> table,
                      std::span<const std::int32_t> tokens,
                      Index num_chosen,
                      double scale) {
  require_equal("route_by_table", "tokens", to_index(tokens.size()), logits.dim(0));
  for (const std::int32_t token : tokens) {
    FATHOM_CHECK(token >= 0 && (token + 1) * num_chosen <= to_index(table.size()));
  }
  const Routes routes = allocate_routes(context, logits.dim(0), num_chosen);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.route.run({.logits = logits.matrix<Real>(),
                       .bias = {},
                       .table = table,
                       .tokens = tokens,
                       .scale = scale,
                       .ids = routes.ids.matrix<std::int32_t>(),
                       .weights = routes.weights.matrix<Real>()},
                      context.pool);
  });
  if (context.recorder != nullptr) [[unlikely]] {
    record_route(context, logits, scale, routes);
  }
  return routes;
}

ExpertSlots sort_by_expert(Context& context, const tensor::Tensor& ids, Index num_experts) {
  const auto allocate = [&](const tensor::Shape& shape) {
    return tensor::Tensor::allocate(context.arena, tensor::DType::I32, shape);
  };
  const ExpertSlots slots = {allocate({ids.num_elements()}), allocate({num_experts + 1}),
                             allocate(ids.shape())};
  const auto chosen = int_span(ids);
  auto* offsets = slots.offsets.data<std::int32_t>();
  std::fill_n(offsets, num_experts + 1, 0);
  for (const std::int32_t expert : chosen) {
    ++offsets[expert + 1];
  }
  for (Index expert = 0; expert < num_experts; ++expert) {
    offsets[expert + 1] += offsets[expert];
  }
  // offsets[e] is the next free slot of e while sorting; afterwards it is shifted back by one.
  auto* source = slots.source.data<std::int32_t>();
  auto* slot_of = slots.slot_of.data<std::int32_t>();
  const Index num_chosen = ids.shape().last();
  for (Index idx = 0; idx < ids.num_elements(); ++idx) {
    const std::int32_t slot = offsets[chosen[to_size(idx)]]++;
    source[slot] = static_cast<std::int32_t>(idx / num_chosen);
    slot_of[idx] = slot;
  }
  for (Index expert = num_experts; expert > 0; --expert) {
    offsets[expert] = offsets[expert - 1];
  }
  offsets[0] = 0;
  return slots;
}

tensor::Tensor scatter_to_slots(Context& context,
                                const tensor::Tensor& values,
                                const tensor::Tensor& slot_of,
                                Index num_ones) {
  require_shape("scatter_to_slots", "values", values, slot_of.shape());
  tensor::Tensor out = context.allocate({values.num_elements() + num_ones});
  const auto slots = int_span(slot_of);
  with_kernels(context, [&](auto real, const auto& /*kernels*/) {
    using Real = decltype(real);
    const Real* from = values.data<Real>();
    Real* to = out.data<Real>();
    for (std::size_t idx = 0; idx < slots.size(); ++idx) {
      to[slots[idx]] = from[idx];
    }
    std::fill_n(to + slots.size(), num_ones, Real{1});
  });
  if (context.recorder != nullptr) [[unlikely]] {
    record_scatter(context, values, slot_of, out);
  }
  return out;
}

tensor::Tensor combine_experts(Context& context,
                               const tensor::Tensor& slots,
                               const tensor::Tensor& slot_of,
                               const tensor::Tensor& shared) {
  require_equal("combine_experts", "columns of slots", slots.shape().last(), shared.shape().last());
  require_equal("combine_experts", "tokens", slot_of.dim(0), shared.dim(0));
  tensor::Tensor out = context.allocate(shared.shape());
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.combine_experts.run({.slots = slots.matrix<Real>(),
                                 .slot_of = slot_of.matrix<const std::int32_t>(),
                                 .shared = shared.matrix<Real>(),
                                 .rounding = context.rounding(),
                                 .out = out.matrix<Real>()},
                                context.pool);
  });
  if (context.recorder != nullptr) [[unlikely]] {
    record_combine(context, slots, slot_of, shared, out);
  }
  return out;
}

}  // namespace fathom::ops
