// Which weights a low-rank adapter (LoRA) may change, by the names a person gives them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fathom/model/config/weight_table.h"

namespace fathom::config {

// Matrices that activations are multiplied with in a layer's linears. The indexer's are none: its
// choices have no gradient of the loss.
bool can_be_adapted(WeightRole role);

struct AdapterRank {
  WeightRole role;
  Index rank;
};

// "attention=16,experts=8,query_up": groups and names of roles, each with a rank or else
// `default_rank`; where two name one role, the later counts. In the order of the weight table.
// Throws InvalidArgument, listing what the model has, for a name that it has not, and for a rank
// that is not 1 to kMaxAdapterRank.
std::vector<AdapterRank> parse_adapter_targets(std::string_view text,
                                               const ModelConfig& config,
                                               Index default_rank);

inline constexpr Index kMaxAdapterRank = 4096;

// What a model can be asked for: groups, then roles, as a line of text.
std::string adapter_target_names(const ModelConfig& config);

}  // namespace fathom::config
