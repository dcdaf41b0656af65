// Models of known shape for tests and benchmarks, by name.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "fathom/model/config/model_config.h"

namespace fathom::weights {

struct SynthPreset {
  config::ModelConfig config;
  config::StoragePlan storage;
};

// tiny: every kind of layer and router and an MTP block, a few megabytes. small and mid: for
// benchmarks beside other engines. flash-slice: the first four layers of V4-Flash with a small
// vocabulary, about 14.3 GB. llama-tiny: a Llama of one megabyte or two.
std::optional<SynthPreset> find_synth_preset(std::string_view name);
std::vector<std::string_view> synth_preset_names();

}  // namespace fathom::weights
