#include "fathom/model/layers/hyper_connection.h"

#include "fathom/model/config/deepseek_v4_facts.h"

namespace fathom::layers {

static_assert(config::kMaxStreams == ops::HyperMergeArgs<float>::kMaxStreams,
              "a config is refused exactly when the kernels cannot hold its streams");

HyperMixer::HyperMixer(const weights::Store& store,
                       const config::ModelConfig& config,
                       const HyperKeys& keys)
    : fn_(store, keys.fn),
      base_(store.floats(keys.base)),
      scale_(store.floats(keys.scale)),
      epsilon_(config.hyper_epsilon),
      norm_epsilon_(config.norm_epsilon),
      iterations_(config.sinkhorn_iterations) {}

tensor::Tensor HyperMixer::products(ops::Context& context, const tensor::Tensor& streams) const {
  return fn_.forward_unrounded(context,
                               streams.reshape({streams.dim(0), streams.dim(1) * streams.dim(2)}));
}

ops::HyperParameters HyperMixer::parameters() const {
  return {.scale = scale_,
          .base = base_,
          .epsilon = epsilon_,
          .norm_epsilon = norm_epsilon_,
          .iterations = iterations_};
}

HyperConnection::Mix HyperConnection::mix(ops::Context& context,
                                          const tensor::Tensor& streams) const {
  const ops::HyperControl control =
      ops::hyper_control(context, mixer_.products(context, streams), streams, mixer_.parameters());
  return {ops::hyper_collapse(context, streams, control.pre), control};
}

void HyperConnection::merge(ops::Context& context,
                            const Mix& mix,
                            const tensor::Tensor& output,
                            const tensor::Tensor& streams) {
  ops::hyper_merge(context, streams, mix.control, output);
}

tensor::Tensor HyperHead::forward(ops::Context& context, const tensor::Tensor& streams) const {
  const tensor::Tensor weights = ops::hyper_head_weights(context, mixer_.products(context, streams),
                                                         streams, mixer_.parameters());
  return ops::hyper_collapse(context, streams, weights);
}

}  // namespace fathom::layers
