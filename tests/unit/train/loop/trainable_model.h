// A golden checkpoint whose weights may be changed, for tests of training.
#pragma once

#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "fathom/base/platform/thread_pool.h"
#include "fathom/families.h"
#include "fathom/train/loop/parameters.h"
#include "fathom/train/optim/optimizer.h"

namespace fathom::train {

struct TrainableModel {
  explicit TrainableModel(const std::string& checkpoint = "flash-tiny")
      : opened(open_model(std::filesystem::path(FATHOM_SOURCE_DIR) /
                          "tests/data/golden/checkpoints" / checkpoint)) {
    opened.store->make_trainable();
  }

  const config::ModelConfig& config() const { return opened.config.model; }
  const weights::NameMap& names() const { return names_of(opened.config.model.family); }
  weights::Store& store() { return *opened.store; }
  ParameterList list(const ParameterOptions& options = {}) {
    return {config(), store(), names(), options};
  }

  OpenedModel opened;
};

// One step of the optimiser with gradients that do not depend on the model.
inline void step_by_random_gradients(const ParameterList& list, platform::ThreadPool& pool) {
  std::mt19937 engine(3);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> gradients;
  for (const optim::Parameter& parameter : list.parameters()) {
    std::vector<float>& numbers = gradients.emplace_back(parameter.values.size());
    for (float& number : numbers) {
      number = normal(engine);
    }
  }
  const std::vector<std::span<const float>> spans(gradients.begin(), gradients.end());
  optim::make_optimizer(list.parameters(), {}, pool)->step(spans, 1, 0.01);
}

}  // namespace fathom::train
