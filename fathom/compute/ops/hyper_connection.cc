#include "fathom/compute/ops/hyper_connection.h"

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
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

template <typename Real>
HyperControlBackwardArgs<Real> control_gradients(Gradients& gradients,
                                                 const tensor::Tensor& products,
                                                 const tensor::Tensor& streams,
                                                 const HyperParameters& parameters,
                                                 const HyperControl& control) {
  const Index num_streams = streams.dim(1);
  const Index width = num_streams * streams.dim(2);
  HyperControlBackwardArgs<Real> args{.products = products.matrix<Real>(),
                                      .streams = streams.matrix<Real>(width),
                                      .scale = parameters.scale,
                                      .base = parameters.base,
                                      .norm_epsilon = parameters.norm_epsilon,
                                      .epsilon = parameters.epsilon,
                                      .iterations = parameters.iterations,
                                      .d_pre = gradients.of(control.pre).matrix<Real>(),
                                      .d_post = {},
                                      .d_comb = {},
                                      .d_products = gradients.of(products).matrix<Real>(),
                                      .d_streams = gradients.of(streams).matrix<Real>(width),
                                      .d_scale = data_or_none<Real>(gradients.of(parameters.scale)),
                                      .d_base = data_or_none<Real>(gradients.of(parameters.base)),
                                      .scratch = {},
                                      .sums = {}};
  if (!control.post.is_empty()) {
    args.d_post = gradients.of(control.post).matrix<Real>();
    args.d_comb = gradients.of(control.comb).matrix<Real>(num_streams * num_streams);
  }
  return args;
}

void backward_control(Context& context,
                      Gradients& gradients,
                      const tensor::Tensor& products,
                      const tensor::Tensor& streams,
                      const HyperParameters& parameters,
                      const HyperControl& control) {
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    using Args = HyperControlBackwardArgs<Real>;
    Args args = control_gradients<Real>(gradients, products, streams, parameters, control);
    const tensor::Tensor scratch = context.allocate(
        {context.num_threads, Args::scratch_columns(streams.dim(1), parameters.iterations)});
    const tensor::Tensor sums =
        context.allocate({Args::num_tiles(products.dim(0)), Args::sum_columns(products.dim(1))});
    args.scratch = scratch.matrix<Real>();
    args.sums = sums.matrix<Real>();
    kernels.training.hyper_control_backward.run(args, context.pool);
  });
}

void record_collapse(Context& context,
                     const tensor::Tensor& streams,
                     const tensor::Tensor& weights,
                     const tensor::Tensor& out) {
  context.recorder->record("hyper_collapse", {out}, [=](Context& back, Gradients& gradients) {
    const Index width = streams.dim(1) * streams.dim(2);
    with_kernels(back, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      kernels.training.hyper_collapse_backward.run(
          {.streams = streams.matrix<Real>(width),
           .weights = weights.matrix<Real>(),
           .d_out = gradients.of(out).matrix<Real>(),
           .d_streams = gradients.of(streams).matrix<Real>(width),
           .d_weights = gradients.of(weights).matrix<Real>()},
          back.pool);
    });
  });
}

void record_merge(Context& context,
                  const tensor::Tensor& streams,
                  const tensor::Tensor& streams_before,
                  const HyperControl& control,
                  const tensor::Tensor& y) {
  context.recorder->record("hyper_merge", {streams}, [=](Context& back, Gradients& gradients) {
    const Index n = streams.dim(1);
    const Index width = n * streams.dim(2);
    with_kernels(back, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      kernels.training.hyper_merge_backward.run(
          {.streams = streams_before.matrix<Real>(width),
           .y = y.matrix<Real>(),
           .post = control.post.matrix<Real>(),
           .comb = control.comb.matrix<Real>(n * n),
           .d_streams = gradients.of(streams).matrix<Real>(width),
           .d_y = gradients.of(y).matrix<Real>(),
           .d_post = gradients.of(control.post).matrix<Real>(),
           .d_comb = gradients.of(control.comb).matrix<Real>(n * n)},
          back.pool);
    });
  });
}

void record_add(Context& context, const tensor::Tensor& shared, const tensor::Tensor& each) {
  context.recorder->record("add_to_streams", {each}, [=](Context& back, Gradients& gradients) {
    with_kernels(back, [&](auto real, const auto& kernels) {
      using Real = decltype(real);
      kernels.training.add_to_streams_backward.run(
          {.d_each = gradients.of(each).matrix<Real>(),
           .d_shared = gradients.of(shared).matrix<Real>()},
          back.pool);
    });
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
  if (context.recorder != nullptr) [[unlikely]] {
    context.recorder->record("hyper_control", {control.pre, control.post, control.comb},
                             [=](Context& back, Gradients& gradients) {
                               backward_control(back, gradients, products, streams, parameters,
                                                control);
                             });
  }
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
  const HyperControl control = {.pre = weights, .post = {}, .comb = {}};
  compute_control(context, products, streams, parameters, control);
  if (context.recorder != nullptr) [[unlikely]] {
    context.recorder->record(
        "hyper_head_weights", {weights}, [=](Context& back, Gradients& gradients) {
          backward_control(back, gradients, products, streams, parameters, control);
        });
  }
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
  if (context.recorder != nullptr) [[unlikely]] {
    record_collapse(context, streams, weights, out);
  }
  return out;
}

void hyper_merge(Context& context,
                 const tensor::Tensor& streams,
                 const HyperControl& control,
                 const tensor::Tensor& y) {
  require_shape("hyper_merge", "y", y, {streams.dim(0), streams.dim(2)});
  const Index num_streams = streams.dim(1);
  const tensor::Tensor streams_before = save_if_recording(context, streams);
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
  if (context.recorder != nullptr) [[unlikely]] {
    record_merge(context, streams, streams_before, control, y);
  }
}

void add_to_streams(Context& context, const tensor::Tensor& shared, const tensor::Tensor& each) {
  require_shape("add_to_streams", "shared", shared, {each.dim(0), each.dim(2)});
  save_if_recording(context, each);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.add_to_streams.run({.shared = shared.matrix<Real>(),
                                .rounding = context.rounding(),
                                .each = each.matrix<Real>()},
                               context.pool);
  });
  if (context.recorder != nullptr) [[unlikely]] {
    record_add(context, shared, each);
  }
}

}  // namespace fathom::ops
