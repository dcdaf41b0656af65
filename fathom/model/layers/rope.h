// The rotation that a config describes, as the ops want it.
#pragma once

#include "fathom/compute/ops/rope.h"
#include "fathom/model/config/model_config.h"

namespace fathom::layers {

// With the scaling of the config: YaRN, llama3 or linear.
ops::RopeFrequencies rope_frequencies(Index rope_dim, const config::RopeConfig& rope);

ops::RopePairs rope_pairs(const config::RopeConfig& rope);

}  // namespace fathom::layers
