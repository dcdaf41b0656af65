// Llama: its table of facts, and what its readers share.
#pragma once

#include <string>
#include <vector>

#include "fathom/model/config/config_facts.h"

namespace fathom::config {

const std::vector<IntegerFact>& llama_integers();
const std::vector<NumberFact>& llama_numbers();

inline constexpr double kLlamaRopeBase = 10000;  // where a file gives none
inline constexpr NumberRange kRopeFactorRange{1e-6, 1e9};

// Every layer alike: grouped attention and a dense MLP. Sets rope_dim as well.
void set_llama_layers(ModelConfig& config, Index num_layers, const RopeConfig& rope);

// Numbers of heads and what follows from them; throws InvalidCheckpoint naming the key.
void check_llama(const ModelConfig& config, Dialect dialect, const std::string& file);

// The head dimension of a file that gives none; throws InvalidCheckpoint if heads do not divide the
// hidden size.
Index default_head_dim(const ModelConfig& config, Dialect dialect, const std::string& file);

}  // namespace fathom::config
