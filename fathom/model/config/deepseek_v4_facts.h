// DeepSeek-V4: its table of facts, and what its readers share: turning a schedule of layers into
// LayerConfigs, and the checks that need more than one key.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fathom/model/config/config_facts.h"

namespace fathom::config {

const std::vector<IntegerFact>& deepseek_v4_integers();
const std::vector<NumberFact>& deepseek_v4_numbers();

// What a kernel holds of a token's residual streams on its stack: ops::HyperMergeArgs::kMaxStreams,
// which this room may not see. model/layers/hyper_connection.cc sees both and compares them.
inline constexpr Index kMaxStreams = 16;
inline constexpr IntegerRange kRatioRange{0, Index{1} << 20};
inline constexpr NumberRange kYarnNumberRange{1e-6, 1e9};
inline constexpr IntegerRange kYarnContextRange{0, Index{1} << 32};
inline constexpr NumberRange kSwigluLimitRange{0, 1e30};

// Names of the keys that a schedule came from, for messages.
struct ScheduleKeys {
  std::string_view num_layers;
  std::string_view num_mtp;
  std::string_view ratios;
};

struct Schedule {
  std::vector<Index> ratios;  // of the layers, and one more where the config has an entry for MTP
  std::vector<RouterKind> routers;  // of the layers
  Index num_mtp = 0;
  RopeConfig plain_rope;       // of layers without compression
  RopeConfig compressed_rope;  // of all others
  // Of every layer and MTP block as the config has them: 0 means no clamp.
  std::vector<double> swiglu_limits;
  std::vector<double> shared_swiglu_limits;
};

// Hash routing in the first layers.
std::vector<RouterKind> leading_hash_routers(Index num_hash_layers, Index num_layers);

// Fills config.layers and config.mtp_layers. Throws on a schedule of wrong length, on a ratio other
// than 0, 4 and 128, on more than one MTP block.
void set_layers(ModelConfig& config,
                const Schedule& schedule,
                const ScheduleKeys& keys,
                const std::string& file);

// What holds between keys; throws InvalidCheckpoint, or Unsupported for what only we cannot do.
void check_contradictions(const ModelConfig& config, Dialect dialect, const std::string& file);

// More MTP blocks than one: the DSpark drafter of later checkpoints.
void check_mtp_count(Index num_mtp, std::string_view key, const std::string& file);

}  // namespace fathom::config
