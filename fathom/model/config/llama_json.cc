#include <algorithm>
#include <array>
#include <utility>

#include "fathom/base/formats/text.h"
#include "fathom/model/config/family_rows.h"
#include "fathom/model/config/llama_facts.h"
#include "fathom/model/config/storage_plan.h"

namespace fathom::config {
namespace {

// Keys of transformers and of training that say nothing about shapes or arithmetic.
constexpr auto kUnneededKeys = std::to_array<std::string_view>({
    "_attn_implementation",
    "_name_or_path",
    "attention_dropout",
    "auto_map",
    "chunk_size_feed_forward",
    "dtype",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "is_llama_config",
    "label2id",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
    "return_dict",
    "torch_dtype",
    "transformers_version",
    "transformers.js_config",
    "use_cache",
});

constexpr auto kArchitectures =
    std::to_array<std::string_view>({"LlamaForCausalLM", "MistralForCausalLM"});

class LlamaReader {
 public:
  explicit LlamaReader(JsonFields fields) : fields_(std::move(fields)) {}

  ParsedConfig read() {
    config_.family = Family::Llama;
    check_fixed_values();
    read_facts();
    check_window();
    const RopeConfig rope = read_rope();
    config_.is_head_tied = boolean_or("tie_word_embeddings", false);
    const Index num_layers = fields_.integer("num_hidden_layers", kLayerCountRange);
    check_layer_types(num_layers);
    set_llama_layers(config_, num_layers, rope);
    check_llama(config_, Dialect::ConfigJson, fields_.file());
    parsed_.storage = read_storage();
    for (const std::string_view key : kUnneededKeys) {
      fields_.ignore(key);
    }
    for (const std::string& key : fields_.unknown_keys()) {
      config_.unknown_keys.push_back(key);
    }
    std::sort(config_.unknown_keys.begin(), config_.unknown_keys.end());
    parsed_.model = std::move(config_);
    return std::move(parsed_);
  }

 private:
  // Keys that transformers' LlamaConfig fills in when a file lacks them. Old files do.
  void assume(std::string_view key, const std::string& value) {
    fields_.ignore(key);
    parsed_.assumed.push_back(std::string(key) + " = " + value);
  }

  bool boolean_or(std::string_view key, bool fallback) {
    if (fields_.has(key)) {
      return fields_.boolean(key);
    }
    assume(key, fallback ? "true" : "false");
    return fallback;
  }

  void check_fixed_values() {
    fields_.ignore("architectures");
    if (fields_.has("architectures")) {
      for (const std::string& name : fields_.texts("architectures")) {
        if (std::find(kArchitectures.begin(), kArchitectures.end(), name) == kArchitectures.end()) {
          fields_.fail_at(
              ErrorCode::Unsupported, "architectures",
              "expected LlamaForCausalLM or MistralForCausalLM, found " + formats::quote(name));
        }
      }
    }
    fields_.require_text("hidden_act", "silu");
    fields_.require_boolean("attention_bias", false);
    fields_.require_boolean("mlp_bias", false);
    fields_.require_boolean("rope_interleaved", false);
    fields_.ignore("partial_rotary_factor");
    if (fields_.has("partial_rotary_factor") &&
        fields_.number("partial_rotary_factor", {0, 1}) != 1) {
      fields_.fail_at(
          ErrorCode::Unsupported, "partial_rotary_factor",
          "only 1 is supported, found " + to_text(fields_.number("partial_rotary_factor", {0, 1})));
    }
    if (fields_.find_object("quantization_config")) {
      fields_.fail_at(ErrorCode::Unsupported, "quantization_config",
                      "quantised safetensors of this family are not supported");
    }
  }

  void read_facts() {
    using M = ModelConfig;
    for (const IntegerFact& fact : llama_integers()) {
      const std::string_view key = fact.names.config_json;
      if (fact.member == &M::bos_token || fact.member == &M::eos_token) {
        read_tokens(fact);
      } else if (fact.member == &M::num_key_value_heads && !fields_.has(key)) {
        config_.num_key_value_heads = config_.num_heads;  // the table lists num_heads before
        assume(key, std::to_string(config_.num_heads));
      } else if (fact.member == &M::head_dim && !fields_.has(key)) {
        fields_.ignore(key);  // the usual case: it follows from what the file does say
        config_.head_dim = default_head_dim(config_, Dialect::ConfigJson, fields_.file());
      } else {
        config_.*fact.member = fields_.integer(key, fact.range);
      }
    }
    for (const NumberFact& fact : llama_numbers()) {
      config_.*fact.member = fields_.number(fact.names.config_json, fact.range);
    }
  }

  // Absent, one, or (end tokens) a list.
  void read_tokens(const IntegerFact& fact) {
    const std::string_view key = fact.names.config_json;
    Index& token = config_.*fact.member;
    token = ModelConfig::kNoToken;
    fields_.ignore(key);
    if (!fields_.has(key)) {
      return;
    }
    if (!fields_.is_list(key)) {
      token = fields_.integer(key, fact.range);
      return;
    }
    const std::vector<Index> tokens = fields_.integers(key, fact.range);
    const bool is_end = fact.member == &ModelConfig::eos_token;
    if (tokens.empty() || (tokens.size() > 1 && !is_end)) {
      fields_.fail_at(ErrorCode::Unsupported, key,
                      std::string(is_end ? "expected at least one token" : "expected one token") +
                          ", found a list of " + std::to_string(tokens.size()));
    }
    token = tokens.front();
    config_.more_eos_tokens.insert(config_.more_eos_tokens.end(), tokens.begin() + 1, tokens.end());
  }

  void check_window() {
    const std::string_view key = "sliding_window";
    fields_.ignore(key);
    const bool is_limited =
        fields_.has(key) && fields_.integer(key, kTokensRange) < config_.max_context;
    if (is_limited) {
      fields_.fail_at(ErrorCode::Unsupported, key,
                      "a window shorter than the context (" + std::to_string(config_.max_context) +
                          ") is not supported, found " +
                          std::to_string(fields_.integer(key, kTokensRange)));
    }
  }

  void check_layer_types(Index num_layers) {
    fields_.ignore("layer_types");
    if (!fields_.has("layer_types")) {
      return;
    }
    const std::vector<std::string> types = fields_.texts("layer_types");
    for (const std::string& type : types) {
      if (type != "full_attention") {
        fields_.fail_at(ErrorCode::Unsupported, "layer_types",
                        "only full_attention is supported, found " + formats::quote(type));
      }
    }
    if (to_index(types.size()) != num_layers) {
      fields_.fail_at(ErrorCode::InvalidCheckpoint, "layer_types",
                      "expected " + std::to_string(num_layers) +
                          " entries (num_hidden_layers), found " + std::to_string(types.size()));
    }
  }

  double read_rope_base(JsonFields& fields) {
    if (fields.has("rope_theta")) {
      return fields.number("rope_theta", kRopeBaseRange);
    }
    fields.ignore("rope_theta");
    assume("rope_theta", to_text(kLlamaRopeBase));
    return kLlamaRopeBase;
  }

  // rope_theta and rope_scaling, or transformers' rope_parameters, which hold both.
  RopeConfig read_rope() {
    RopeConfig rope;
    rope.pairs = RopePairs::Halves;
    std::optional<JsonFields> scaling = fields_.find_object("rope_scaling");
    std::optional<JsonFields> parameters = fields_.find_object("rope_parameters");
    if (scaling && parameters) {
      fields_.fail_at(ErrorCode::InvalidCheckpoint, "rope_scaling",
                      "expected no such key beside rope_parameters");
    }
    // transformers repeats the base outside of rope_parameters in some releases.
    rope.base = read_rope_base(parameters && !fields_.has("rope_theta") ? *parameters : fields_);
    if (parameters && parameters->has("rope_theta") &&
        parameters->number("rope_theta", kRopeBaseRange) != rope.base) {
      parameters->fail_at(ErrorCode::InvalidCheckpoint, "rope_theta",
                          "expected " + to_text(rope.base) + " (rope_theta), found " +
                              to_text(parameters->number("rope_theta", kRopeBaseRange)));
    }
    if (std::optional<JsonFields>& given = parameters ? parameters : scaling) {
      read_scaling(*given, rope);
      const std::vector<std::string> keys = given->unknown_keys();
      config_.unknown_keys.insert(config_.unknown_keys.end(), keys.begin(), keys.end());
    }
    return rope;
  }

  static void read_scaling(JsonFields& scaling, RopeConfig& rope) {
    std::string type;
    for (const std::string_view key : {"type", "rope_type"}) {
      scaling.ignore(key);
      if (scaling.has(key)) {
        type = scaling.text(key);
      }
    }
    if (type.empty()) {
      scaling.fail_at(ErrorCode::InvalidCheckpoint, "rope_type", "key is missing");
    }
    if (type == "linear") {
      rope.linear_factor = scaling.number("factor", kRopeFactorRange);
    } else if (type == "llama3") {
      rope.llama3 = {
          .factor = scaling.number("factor", kRopeFactorRange),
          .low_frequency_factor = scaling.number("low_freq_factor", kRopeFactorRange),
          .high_frequency_factor = scaling.number("high_freq_factor", kRopeFactorRange),
          .original_context = scaling.integer("original_max_position_embeddings", kTokensRange)};
      if (!(rope.llama3->low_frequency_factor < rope.llama3->high_frequency_factor)) {
        scaling.fail_at(ErrorCode::InvalidCheckpoint, "high_freq_factor",
                        "expected more than low_freq_factor (" +
                            to_text(rope.llama3->low_frequency_factor) + "), found " +
                            to_text(rope.llama3->high_frequency_factor));
      }
    } else if (type != "default") {
      scaling.fail_at(ErrorCode::Unsupported, "rope_type",
                      "expected default, linear or llama3, found " + formats::quote(type));
    }
  }

  std::optional<StoragePlan> read_storage() {
    for (const std::string_view key : {"dtype", "torch_dtype"}) {
      if (fields_.has(key)) {
        const std::string name = fields_.text(key);
        const std::optional<numeric::WeightFormat> format = find_plain_format(name);
        if (!format) {
          fields_.fail_at(ErrorCode::Unsupported, key,
                          "expected bfloat16, float16 or float32, found " + formats::quote(name));
        }
        return make_storage_plan(*format, *format);
      }
    }
    return std::nullopt;
  }

  JsonFields fields_;
  ModelConfig config_;
  ParsedConfig parsed_;
};

}  // namespace

ParsedConfig read_llama_json(JsonFields fields, JsonFields* /*inference*/) {
  return LlamaReader(std::move(fields)).read();
}

}  // namespace fathom::config
