#include <nlohmann/json.hpp>

#include "fathom/model/config/family_rows.h"
#include "fathom/model/config/storage_plan.h"
#include "fathom/model/config/write_keys.h"

namespace fathom::config {
namespace {

using nlohmann::ordered_json;

// The rotation of all layers. `keys` names the file for the message.
const RopeConfig& common_rope(const ModelConfig& config, std::string_view keys) {
  const RopeConfig& rope = config.layers.front().rope;
  for (const LayerConfig& layer : config.layers) {
    if (layer.rope != rope) {
      fail(ErrorCode::Unsupported, keys, ": one rotation for all layers is all it can say");
    }
  }
  return rope;
}

ordered_json rope_scaling(const RopeConfig& rope) {
  if (rope.llama3) {
    return {{"factor", plain_number(rope.llama3->factor)},
            {"high_freq_factor", plain_number(rope.llama3->high_frequency_factor)},
            {"low_freq_factor", plain_number(rope.llama3->low_frequency_factor)},
            {"original_max_position_embeddings", rope.llama3->original_context},
            {"rope_type", "llama3"}};
  }
  if (rope.linear_factor != 1) {
    return {{"factor", plain_number(rope.linear_factor)}, {"rope_type", "linear"}};
  }
  return nullptr;
}

}  // namespace

std::string write_llama_json(const ModelConfig& config, const StoragePlan& storage) {
  const RopeConfig& rope = common_rope(config, "config.json: rope_theta");
  if (rope.pairs != RopePairs::Halves || config.has_rope_divisors) {
    fail(ErrorCode::Unsupported,
         "config.json: rope_theta: cannot say that rows are in the order of GGUF files");
  }
  const std::optional<std::string_view> dtype = find_plain_format_name(storage.dense);
  if (!dtype) {
    fail(ErrorCode::Unsupported, "config.json: torch_dtype: expected f32, f16 or bf16, found ",
         numeric::to_string(storage.dense));
  }
  ordered_json json;
  json["architectures"] = {"LlamaForCausalLM"};
  json["model_type"] = "llama";
  json["attention_bias"] = false;
  json["mlp_bias"] = false;
  json["hidden_act"] = "silu";
  for (const IntegerFact& fact : integer_facts(Family::Llama)) {
    const Index value = config.*fact.member;
    json[std::string(fact.names.config_json)] =
        value == ModelConfig::kNoToken ? ordered_json() : ordered_json(value);
  }
  if (!config.more_eos_tokens.empty()) {
    json["eos_token_id"] = {config.eos_token};
    for (const Index token : config.more_eos_tokens) {
      json["eos_token_id"].push_back(token);
    }
  }
  for (const NumberFact& fact : number_facts(Family::Llama)) {
    json[std::string(fact.names.config_json)] = config.*fact.member;
  }
  json["num_hidden_layers"] = config.num_layers();
  json["rope_theta"] = plain_number(rope.base);
  json["rope_scaling"] = rope_scaling(rope);
  json["tie_word_embeddings"] = config.is_head_tied;
  json["torch_dtype"] = *dtype;
  return json.dump(2) + "\n";
}

// The rows of query and key must be in the order of GGUF files.
std::vector<formats::GgufWriteValue> write_llama_gguf(const ModelConfig& config) {
  const RopeConfig& rope = common_rope(config, "llama.rope.freq_base");
  if (rope.llama3) {
    fail(ErrorCode::Unsupported,
         "llama.rope.scaling.type: cannot say llama3, which GGUF files keep as a tensor");
  }
  GgufKeys keys(kLlamaArchitecture);
  keys.add_facts(config);
  keys.own("block_count", gguf_count(config.num_layers()));
  keys.own("attention.value_length", gguf_count(config.head_dim));
  keys.own("rope.dimension_count", gguf_count(config.rope_dim));
  keys.own("rope.freq_base", static_cast<float>(rope.base));
  if (rope.linear_factor != 1) {
    keys.own("rope.scaling.type", std::string("linear"));
    keys.own("rope.scaling.factor", static_cast<float>(rope.linear_factor));
  }
  return keys.take();
}

}  // namespace fathom::config
