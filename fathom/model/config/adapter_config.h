// adapter_config.json: what a LoRA adapter says of itself, as PyPI peft writes it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::config {

struct AdapterConfig {
  std::string base_model;       // "base_model_name_or_path": a hint, nothing is looked up
  Index rank = 0;               // "r", where rank_pattern says nothing
  double alpha = 0;             // "lora_alpha", where alpha_pattern says nothing
  bool has_root_scale = false;  // "use_rslora": the scale is alpha / sqrt(r), not alpha / r
  // By modules: a whole name, or its end after a dot.
  std::map<std::string, Index> rank_pattern;
  std::map<std::string, double> alpha_pattern;
  std::vector<std::string> target_modules;

  // Of a module by its name in the model ("model.layers.0.self_attn.q_proj").
  Index rank_of(std::string_view module) const;
  double alpha_of(std::string_view module) const;
  double scale_of(std::string_view module, Index its_rank) const;
};

// Throws InvalidCheckpoint or Unsupported naming file and key: another kind of adapter than LoRA,
// and whatever would make it compute something else (DoRA, biases, whole modules, patterns that are
// regular expressions).
AdapterConfig parse_adapter_config(std::string_view json, const std::string& file);

// The text of such a file.
std::string make_adapter_config(const AdapterConfig& config);

}  // namespace fathom::config
