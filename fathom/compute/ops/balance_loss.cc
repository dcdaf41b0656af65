#include "fathom/compute/ops/balance_loss.h"

#include <algorithm>

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {
namespace {

struct Routing {
  tensor::Tensor logits;
  Routes routes;
  Index layer_idx;
  bool is_by_score;
};

void count_experts(const Routing& routing, TrainingTerms::LayerSums& sums) {
  sums.expert_tokens.assign(to_size(routing.logits.shape().last()), 0);
  for (const std::int32_t expert : int_span(routing.routes.ids)) {
    sums.expert_tokens[to_size(expert)] += 1;
  }
}

// `d_logits` empty: only the loss.
void compute(Context& context,
             const TrainingTerms& terms,
             const Routing& routing,
             const tensor::Tensor& d_logits,
             TrainingTerms::LayerSums& sums) {
  const tensor::Arena::Scope scope(context.arena);
  const Index num_experts = routing.logits.shape().last();
  const auto no_bias = context.arena.allocate_array<float>(num_experts);
  std::fill(no_bias.begin(), no_bias.end(), 0.0F);
  const auto chosen = context.arena.allocate_array<std::int32_t>(routing.routes.ids.shape().last());
  const tensor::Tensor scratch = context.allocate({3, num_experts});
  sums.balance_loss = 0;
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.training.balance_loss.run({.logits = routing.logits.matrix<Real>(),
                                       .pieces = terms.pieces,
                                       .no_bias = no_bias,
                                       .chosen = chosen,
                                       .d_loss = terms.d_balance_loss,
                                       .scratch = scratch.matrix<Real>(),
                                       .d_logits = matrix_or_none<Real>(d_logits),
                                       .loss = &sums.balance_loss},
                                      context.pool);
  });
}

}  // namespace

void balance_experts(Context& context,
                     const tensor::Tensor& logits,
                     const Routes& routes,
                     Index layer_idx,
                     bool is_by_score) {
  TrainingTerms* const terms = context.training;
  if (terms == nullptr) [[likely]] {
    return;
  }
  const Routing routing{logits, routes, layer_idx, is_by_score};
  const bool has_loss = is_by_score && terms->d_balance_loss != 0;
  if (terms->is_forward_only) {
    TrainingTerms::LayerSums& sums = terms->layers.at(to_size(layer_idx));
    count_experts(routing, sums);
    if (has_loss) {
      compute(context, *terms, routing, {}, sums);
    }
  } else if (context.recorder != nullptr) {
    // The weights are on the way to the loss; behind them the way back goes on to the logits.
    context.recorder->record(
        "balance_experts", {routes.weights}, [=](Context& back, Gradients& gradients) {
          TrainingTerms::LayerSums& sums = terms->layers.at(to_size(layer_idx));
          count_experts(routing, sums);
          if (has_loss) {
            compute(back, *terms, routing, gradients.of(logits), sums);
          }
        });
  }
}

}  // namespace fathom::ops
