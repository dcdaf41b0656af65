#include "fathom/compute/ops/hyper_connection.h"

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {
namespace {

// Fills what of `control` is there: the head has pre alone.
void compute_control(Context& context,
                     const tensor::Tensor& products,
                     const tensor::Tensor& streams,
                     const HyperParameters& parameters,
                     const HyperControl& control) {
  const Index num_streams = streams.dim(1);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    HyperControlArgs<Real> args{.products = products.matrix<Real>(),
                                .streams = streams.matrix<Real>(num_streams * streams.dim(2)),
                                .scale = parameters.scale,
                                .base = parameters.base,
                                .epsilon = parameters.epsilon,
                                .norm_epsilon = parameters.norm_epsilon,
                                .iterations = parameters.iterations,
                                .pre = control.pre.matrix<Real>(),
                                .post = {},
                                .comb = {}};
    if (!control.post.is_empty()) {
      args.post = control.post.matrix<Real>();
      args.comb = control.comb.matrix<Real>(num_streams * num_streams);
    }
    kernels.hyper_control.run(args, context.pool);
  });
}

}  // namespace

HyperControl hyper_control(Context& context,
                           const tensor::Tensor& products,
                           const tensor::Tensor& streams,
                           const HyperParameters& parameters) {
  const Index num_tokens = streams.dim(0);
  const Index num_streams = streams.dim(1);
  require_shape("hyper_control", "products", products,
                {num_tokens, num_streams * (2 + num_streams)});
  require_equal("hyper_control", "base", to_index(parameters.base.size()), products.dim(1));
  FATHOM_CHECK(num_streams <= HyperMergeArgs<float>::kMaxStreams);
  require_equal("hyper_control", "scale", to_index(parameters.scale.size()), 3);
  const HyperControl control = {context.allocate({num_tokens, num_streams}),
                                context.allocate({num_tokens, num_streams}),
                                context.allocate({num_tokens, num_streams, num_streams})};
  compute_control(context, products, streams, parameters, control);
  return control;
}

tensor::Tensor hyper_head_weights(Context& context,
                                  const tensor::Tensor& products,
                                  const tensor::Tensor& streams,
                                  const HyperParameters& parameters) {
  const Index num_tokens = streams.dim(0);
  const Index num_streams = streams.dim(1);
  require_shape("hyper_head_weights", "products", products, {num_tokens, num_streams});
  require_equal("hyper_head_weights", "base", to_index(parameters.base.size()), num_streams);
  require_equal("hyper_head_weights", "scale", to_index(parameters.scale.size()), 1);
  tensor::Tensor weights = context.allocate({num_tokens, num_streams});
  compute_control(context, products, streams, parameters, {.pre = weights, .post = {}, .comb = {}});
  return weights;
}

tensor::Tensor hyper_collapse(Context& context,
                              const tensor::Tensor& streams,
                              const tensor::Tensor& weights) {
  require_shape("hyper_collapse", "weights", weights, {streams.dim(0), streams.dim(1)});
  tensor::Tensor out = context.allocate({streams.dim(0), streams.dim(2)});
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.hyper_collapse.run({.streams = streams.matrix<Real>(streams.dim(1) * streams.dim(2)),
                                .weights = weights.matrix<Real>(),
                                .rounding = context.rounding(),
                                .out = out.matrix<Real>()},
                               context.pool);
  });
  return out;
}

void hyper_merge(Context& context,
                 const tensor::Tensor& streams,
                 const HyperControl& control,
                 const tensor::Tensor& y) {
  require_shape("hyper_merge", "y", y, {streams.dim(0), streams.dim(2)});
  const Index num_streams = streams.dim(1);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    const auto rows = streams.matrix<Real>(num_streams * streams.dim(2));
    kernels.hyper_merge.run({.streams = rows,
                             .y = y.matrix<Real>(),
                             .post = control.post.matrix<Real>(),
                             .comb = control.comb.matrix<Real>(num_streams * num_streams),
                             .rounding = context.rounding()},
                            context.pool);
  });
}

void add_to_streams(Context& context, const tensor::Tensor& shared, const tensor::Tensor& each) {
  require_shape("add_to_streams", "shared", shared, {each.dim(0), each.dim(2)});
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.add_to_streams.run({.shared = shared.matrix<Real>(),
                                .rounding = context.rounding(),
                                .each = each.matrix<Real>()},
                               context.pool);
  });
}

}  // namespace fathom::ops
