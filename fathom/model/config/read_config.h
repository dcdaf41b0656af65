// Reading a ModelConfig from what published checkpoints carry, and writing config.json.
//
// Untrusted text: every key is checked for presence, type and range; contradictions (lengths,
// divisibility, ratios other than 0, 4, 128) are errors naming file, key, expected and found.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/formats/gguf.h"
#include "fathom/model/config/model_config.h"

namespace fathom::config {

// A config and the storage it promises (nothing when its text does not say).
struct ParsedConfig {
  ModelConfig model;
  std::optional<StoragePlan> storage;
  // "key = value" for facts the text lacks: in official inference configs those that both released
  // models share, in configs of Llama those that transformers fills in.
  std::vector<std::string> assumed;
};

// The config.json of any family that family_rows.cc lists, by its model_type. DeepSeek-V4: official
// or written by transformers' save_pretrained (layer_types, mlp_layer_types, compress_rates,
// rope_parameters, partial_rotary_factor ...). Llama and what is plain Llama under another name.
// `inference_json` is the text of the sibling inference/config.json or empty.
ParsedConfig parse_config_json(std::string_view json,
                               const std::string& file,
                               std::string_view inference_json = {},
                               const std::string& inference_file = {});

// The official inference config alone (keys dim, n_layers ...); it lacks some facts, which it takes
// from the values both released models share and lists in `assumed`.
ParsedConfig parse_inference_config_json(std::string_view json, const std::string& file);

// GGUF metadata, by its architecture: deepseek4 in the dialects of specification 2.4, or llama.
ParsedConfig parse_gguf_config(const formats::GgufHeader& header, const std::string& file);

// "fp4", "fp8" or "bf16" (as `--storage`): experts and dense linears.
StoragePlan storage_plan_from_name(std::string_view name);

// "v4-flash" or "v4-pro": both published configs are compiled in.
std::optional<ParsedConfig> find_builtin_config(std::string_view name);

// The text of an official config.json that parse_config_json reads back to the same ModelConfig.
std::string make_config_json(const ModelConfig& config, const StoragePlan& storage);

// The same as GGUF metadata for parse_gguf_config, without general.* and the vocabulary.
std::string_view gguf_architecture(Family family);
std::vector<formats::GgufWriteValue> make_gguf_facts(const ModelConfig& config);

}  // namespace fathom::config
