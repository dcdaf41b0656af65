#include "fathom/model/layers/linear.h"

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

}  // namespace fathom::layers
