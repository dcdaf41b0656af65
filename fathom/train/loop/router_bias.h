// Balancing experts without a loss: the bias that routers choose with, moved by a rule.
#pragma once

#include <vector>

#include "fathom/model/config/model_config.h"
#include "fathom/model/weights/store.h"

namespace fathom::train {

// After an optimiser step: b[e] += speed sign(mean load - load[e]) for every layer that routes by
// score, MTP blocks included (specification 6.3, DeepSeek-V3's rule; V4's speed is 0.001).
//
//   store          after make_trainable(); layers built since then see the change
//   expert_tokens  LossSums::expert_tokens of all batches of the step; a layer without counts keeps
//                  its bias
//
// Throws InvalidArgument for a speed that is negative or no number.
void update_router_biases(weights::Store& store,
                          const config::ModelConfig& config,
                          const std::vector<std::vector<double>>& expert_tokens,
                          double speed);

}  // namespace fathom::train
