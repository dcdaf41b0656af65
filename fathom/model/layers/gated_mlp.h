// down(silu(gate(x)) * up(x)): the MLP of a dense layer, and the shared expert beside routed ones.
#pragma once

#include "fathom/model/layers/linear.h"

namespace fathom::layers {

class GatedMlp {
 public:
  struct Keys {
    config::WeightKey gate;
    config::WeightKey up;
    config::WeightKey down;
  };
  // `limit` clamps gate (above) and up (both sides); infinity for none.
  GatedMlp(const weights::Store& store, const Keys& keys, double limit)
      : limit_(limit), gate_(store, keys.gate), up_(store, keys.up), down_(store, keys.down) {}

  // [T, D] to [T, D]
  tensor::Tensor forward(ops::Context& context, const tensor::Tensor& x) const;
  tensor::Tensor forward(ops::Context& context, const ops::LinearInput& input) const;

 private:
  double limit_;
  Linear gate_;
  Linear up_;
  Linear down_;
};

}  // namespace fathom::layers
