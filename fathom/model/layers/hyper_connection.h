// Manifold-constrained hyper-connection (mHC): how a sub-block reads from N residual streams and
// writes back to them.
#pragma once

#include <span>

#include "fathom/compute/ops/hyper_connection.h"
#include "fathom/model/config/model_config.h"
#include "fathom/model/layers/linear.h"

namespace fathom::layers {

struct HyperKeys {
  config::WeightKey fn;
  config::WeightKey base;
  config::WeightKey scale;
};

// The learned part of a mix: fn, and what turns its products into control numbers.
class HyperMixer {
 public:
  HyperMixer(const weights::Store& store, const config::ModelConfig& config, const HyperKeys& keys);

  // fn . vec(X), [T, *]: of the streams as they are; their norm is applied to the product.
  tensor::Tensor products(ops::Context& context, const tensor::Tensor& streams) const;
  ops::HyperParameters parameters() const;

 private:
  Linear fn_;
  std::span<const float> base_;
  std::span<const float> scale_;
  double epsilon_;
  double norm_epsilon_;
  Index iterations_;
};

class HyperConnection {
 public:
  HyperConnection(const weights::Store& store,
                  const config::ModelConfig& config,
                  const HyperKeys& keys)
      : mixer_(store, config, keys) {}

  // The sub-block's input [T, D] and what merge() needs.
  struct Mix {
    tensor::Tensor input;
    ops::HyperControl control;
  };
  Mix mix(ops::Context& context, const tensor::Tensor& streams) const;

  // Puts the sub-block's output [T, D] back: streams [T, N, D] change in place.
  static void merge(ops::Context& context,
                    const Mix& mix,
                    const tensor::Tensor& output,
                    const tensor::Tensor& streams);

 private:
  HyperMixer mixer_;
};

// Collapses the streams to one vector in front of the head.
class HyperHead {
 public:
  HyperHead(const weights::Store& store, const config::ModelConfig& config, const HyperKeys& keys)
      : mixer_(store, config, keys) {}
  tensor::Tensor forward(ops::Context& context, const tensor::Tensor& streams) const;  // [T, D]

 private:
  HyperMixer mixer_;
};

}  // namespace fathom::layers
