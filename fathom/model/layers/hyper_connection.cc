#include "fathom/model/layers/hyper_connection.h"

namespace fathom::layers {
namespace {

ops::HyperParameters parameters_of(const config::ModelConfig& config,
                                   const std::vector<float>& base,
                                   const std::vector<float>& scale) {
  return {.scale = scale,
          .base = base,
          .epsilon = config.hyper_epsilon,
          .norm_epsilon = config.norm_epsilon,
          .iterations = config.sinkhorn_iterations};
}

// fn . vec(X): the product is of the streams as they are; the norm is applied to it afterwards.
tensor::Tensor products_of(ops::Context& context, const Linear& fn, const tensor::Tensor& streams) {
  return fn.forward_unrounded(context,
                              streams.reshape({streams.dim(0), streams.dim(1) * streams.dim(2)}));
}

}  // namespace

HyperConnection::HyperConnection(const weights::Store& store,
                                 const config::ModelConfig& config,
                                 const HyperKeys& keys)
    : fn_(store, keys.fn),
      base_(store.floats(keys.base)),
      scale_(store.floats(keys.scale)),
      parameters_(parameters_of(config, base_, scale_)) {}

HyperConnection::Mix HyperConnection::mix(ops::Context& context,
                                          const tensor::Tensor& streams) const {
  const ops::HyperControl control =
      ops::hyper_control(context, products_of(context, fn_, streams), streams, parameters_);
  return {ops::hyper_collapse(context, streams, control.pre), control};
}

void HyperConnection::merge(ops::Context& context,
                            const Mix& mix,
                            const tensor::Tensor& output,
                            const tensor::Tensor& streams) {
  ops::hyper_merge(context, streams, mix.control, output);
}

HyperHead::HyperHead(const weights::Store& store,
                     const config::ModelConfig& config,
                     const HyperKeys& keys)
    : fn_(store, keys.fn),
      base_(store.floats(keys.base)),
      scale_(store.floats(keys.scale)),
      parameters_(parameters_of(config, base_, scale_)) {}

tensor::Tensor HyperHead::forward(ops::Context& context, const tensor::Tensor& streams) const {
  const tensor::Tensor weights =
      ops::hyper_head_weights(context, products_of(context, fn_, streams), streams, parameters_);
  return ops::hyper_collapse(context, streams, weights);
}

}  // namespace fathom::layers
