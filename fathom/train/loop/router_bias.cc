#include "fathom/train/loop/router_bias.h"

#include <cmath>
#include <numeric>
#include <span>

#include "fathom/base/core/error.h"

namespace fathom::train {
namespace {

void move_bias(std::span<float> bias, const std::vector<double>& loads, double speed) {
  FATHOM_CHECK(bias.size() == loads.size());
  const double mean =
      std::accumulate(loads.begin(), loads.end(), 0.0) / static_cast<double>(loads.size());
  for (std::size_t expert = 0; expert < loads.size(); ++expert) {
    if (loads[expert] != mean) {
      bias[expert] += static_cast<float>(std::copysign(speed, mean - loads[expert]));
    }
  }
}

}  // namespace

void update_router_biases(weights::Store& store,
                          const config::ModelConfig& config,
                          const std::vector<std::vector<double>>& expert_tokens,
                          double speed) {
  if (!(speed >= 0) || !std::isfinite(speed)) {
    fail(ErrorCode::InvalidArgument, "bias speed: ", speed, ", expected a number of at least 0");
  }
  std::size_t row = 0;
  const auto update_block = [&](config::Block block, const auto& layers) {
    for (std::size_t idx = 0; idx < layers.size(); ++idx, ++row) {
      const config::WeightKey key{config::WeightRole::RouterBias, block, to_index(idx)};
      if (layers[idx].router == config::RouterKind::TopK && row < expert_tokens.size() &&
          !expert_tokens[row].empty()) {
        move_bias(store.trainable(key), expert_tokens[row], speed);
      }
    }
  };
  update_block(config::Block::Layer, config.layers);
  update_block(config::Block::Mtp, config.mtp_layers);
}

}  // namespace fathom::train
