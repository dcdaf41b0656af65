// Adapters that change a model: as a trainer makes them, but with numbers where it begins with
// zeros.
#pragma once

#include <cmath>
#include <memory>
#include <random>
#include <string>

#include "fathom/adapters.h"

namespace fathom::testing {

// `targets` as for parse_adapter_targets. B's numbers are such that an adapter adds `share` of what
// it is given.
inline std::shared_ptr<weights::Adapter> random_adapter(const config::ModelConfig& config,
                                                        const std::string& targets,
                                                        unsigned seed = 1,
                                                        float share = 0.1F) {
  auto adapter = weights::make_adapter(
      config,
      {.ranks = config::parse_adapter_targets(targets, config, 4), .scale = 1.5, .seed = seed});
  std::mt19937 engine(seed);
  for (auto& [key, target] : adapter->targets()) {
    std::normal_distribution<float> normal(0, share / std::sqrt(static_cast<float>(target.rank)));
    for (float& number : target.b) {
      number = normal(engine);
    }
  }
  return adapter;
}

// All that the model has.
inline std::string all_targets(const config::ModelConfig& config) {
  std::string names = config::adapter_target_names(config);
  std::erase(names, ' ');
  return names;
}

}  // namespace fathom::testing
