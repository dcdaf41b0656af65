#include "fathom/model/layers/linear.h"

#include <algorithm>

#include "fathom/compute/ops/round_trip.h"

namespace fathom::layers {

ops::LinearInput rounded_input(ops::Context& context,
                               const Weight& weight,
                               const ops::LinearInput& input) {
  if (context.numerics != ops::Numerics::Official || !weight.rounds_its_input()) {
    return input;
  }
  constexpr Index kGroup = 128;
  return ops::rounded_trip(context, input.x(), kGroup, ops::RoundTripFormat::E4m3);
}

tensor::Tensor Linear::forward(ops::Context& context, const ops::LinearInput& input) const {
  const tensor::Tensor out = ops::linear(
      context, weight_.view(), rounded_input(context, weight_, input), context.products());
  low_rank_.add(context, input.x(), {.y = out, .rounding = context.rounding()});
  return out;
}

tensor::Tensor Linear::forward_unrounded(ops::Context& context,
                                         const ops::LinearInput& input) const {
  const tensor::Tensor out =
      ops::linear(context, weight_.view(), input, context.unrounded_products());
  low_rank_.add(context, input.x(), {.y = out});
  return out;
}

tensor::Tensor Linear::forward_grouped(ops::Context& context,
                                       const tensor::Tensor& x,
                                       Index num_groups) const {
  const tensor::Tensor out =
      ops::grouped_linear(context, weight_.view(), x, num_groups, context.products());
  low_rank_.add_grouped(context, x, num_groups, {.y = out, .rounding = context.rounding()});
  return out;
}

void forward_together(ops::Context& context,
                      std::span<const Linear* const> layers,
                      const ops::LinearInput& input,
                      std::span<tensor::Tensor> out) {
  const Weight& first = layers.front()->weight();
  const bool is_alike = std::all_of(layers.begin(), layers.end(), [&](const Linear* layer) {
    return layer->weight().rounds_its_input() == first.rounds_its_input();
  });
  if (input.x().dim(0) != 1 || context.recorder != nullptr || !is_alike) {
    std::transform(layers.begin(), layers.end(), out.begin(),
                   [&](const Linear* layer) { return layer->forward(context, input); });
    return;
  }
  const auto weights = context.arena.allocate_array<numeric::WeightView>(to_index(layers.size()));
  Index num_rows = 0;
  for (std::size_t idx = 0; idx < layers.size(); ++idx) {
    weights[idx] = layers[idx]->weight().view();
    num_rows += weights[idx].rows;
  }
  const tensor::Tensor joined = context.allocate({num_rows, 1});
  ops::linear_side_by_side(context, weights, rounded_input(context, first, input),
                           context.products(), joined.reshape({1, num_rows}));
  Index first_row = 0;
  for (std::size_t idx = 0; idx < layers.size(); ++idx) {
    const Index count = weights[idx].rows;
    out[idx] = joined.slice(first_row, count).reshape({1, count});
    layers[idx]->low_rank().add(context, input.x(),
                                {.y = out[idx], .rounding = context.rounding()});
    first_row += count;
  }
}

}  // namespace fathom::layers
