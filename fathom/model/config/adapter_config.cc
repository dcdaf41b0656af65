#include "fathom/model/config/adapter_config.h"

#include <array>
#include <cmath>

#include <nlohmann/json.hpp>

#include "fathom/base/formats/text.h"
#include "fathom/model/config/adapter_targets.h"
#include "fathom/model/config/json_fields.h"

namespace fathom::config {
namespace {

constexpr double kMaxAlpha = 1e6;

// Keys that make another thing of an adapter where they are true ...
constexpr auto kMustBeFalse = std::to_array<std::string_view>(
    {"use_dora", "fan_in_fan_out", "lora_bias", "use_qalora", "ensure_weight_tying"});
// ... or where they hold anything.
constexpr auto kMustBeEmpty = std::to_array<std::string_view>(
    {"modules_to_save", "layer_replication", "trainable_token_indices", "target_parameters",
     "alora_invocation_tokens", "arrow_config", "use_bdlora"});

bool is_plain(std::string_view module) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
  return !module.empty() && module.find_first_not_of(kPlain) == std::string_view::npos;
}

bool is_part(std::string_view module, std::string_view pattern) {
  return module == pattern || (module.size() > pattern.size() && module.ends_with(pattern) &&
                               module[module.size() - pattern.size() - 1] == '.');
}

template <typename Value>
Value value_of(const std::map<std::string, Value>& patterns, std::string_view module, Value other) {
  for (const auto& [pattern, value] : patterns) {
    if (is_part(module, pattern)) {
      return value;
    }
  }
  return other;
}

// read(fields, module) for every entry of an object of modules.
template <typename Read>
void read_pattern(JsonFields& fields, std::string_view key, const Read& read) {
  std::optional<JsonFields> pattern = fields.find_object(key);
  if (!pattern) {
    return;
  }
  for (const std::string& module : pattern->keys()) {
    if (!is_plain(module)) {
      pattern->fail_at(ErrorCode::Unsupported, formats::quote(module),
                       ": expected the name of a module or its end, found a regular expression");
    }
    read(*pattern, module);
  }
}

void refuse_other_kinds(JsonFields& fields) {
  if (!fields.has("peft_type")) {
    fields.fail_at(ErrorCode::InvalidCheckpoint, "peft_type", "expected \"LORA\", found nothing");
  }
  fields.require_text("peft_type", "LORA");
  fields.require_text("bias", "none");
  for (const std::string_view key : kMustBeFalse) {
    fields.require_boolean(key, false);
  }
  for (const std::string_view key : kMustBeEmpty) {
    if (fields.has(key) && !(fields.is_list(key) && fields.texts(key).empty())) {
      fields.fail_at(ErrorCode::Unsupported, key, "expected nothing, found a value");
    }
  }
}

}  // namespace

Index AdapterConfig::rank_of(std::string_view module) const {
  return value_of(rank_pattern, module, rank);
}

double AdapterConfig::alpha_of(std::string_view module) const {
  return value_of(alpha_pattern, module, alpha);
}

double AdapterConfig::scale_of(std::string_view module, Index its_rank) const {
  const auto divisor = static_cast<double>(its_rank);
  return alpha_of(module) / (has_root_scale ? std::sqrt(divisor) : divisor);
}

AdapterConfig parse_adapter_config(std::string_view json, const std::string& file) {
  JsonFields fields = JsonFields::parse(json, file);
  refuse_other_kinds(fields);
  AdapterConfig config;
  if (fields.has("base_model_name_or_path")) {
    config.base_model = fields.text("base_model_name_or_path");
  }
  config.rank = fields.integer("r", {1, kMaxAdapterRank});
  config.alpha = fields.number("lora_alpha", {-kMaxAlpha, kMaxAlpha});
  config.has_root_scale = fields.has("use_rslora") && fields.boolean("use_rslora");
  if (fields.is_list("target_modules")) {
    config.target_modules = fields.texts("target_modules");
  }
  read_pattern(fields, "rank_pattern", [&](JsonFields& pattern, const std::string& module) {
    config.rank_pattern[module] = pattern.integer(module, {1, kMaxAdapterRank});
  });
  read_pattern(fields, "alpha_pattern", [&](JsonFields& pattern, const std::string& module) {
    config.alpha_pattern[module] = pattern.number(module, {-kMaxAlpha, kMaxAlpha});
  });
  return config;
}

std::string make_adapter_config(const AdapterConfig& config) {
  nlohmann::ordered_json root;
  root["peft_type"] = "LORA";
  root["task_type"] = "CAUSAL_LM";
  root["base_model_name_or_path"] = config.base_model;
  root["r"] = config.rank;
  root["lora_alpha"] = config.alpha;
  root["lora_dropout"] = 0.0;
  root["bias"] = "none";
  root["use_rslora"] = config.has_root_scale;
  root["target_modules"] = config.target_modules;
  root["rank_pattern"] = config.rank_pattern;
  root["alpha_pattern"] = config.alpha_pattern;
  root["inference_mode"] = true;
  return root.dump(2) + "\n";
}

}  // namespace fathom::config
