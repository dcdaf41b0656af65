#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "fathom/model/config/deepseek_v4_facts.h"
#include "fathom/model/config/family_rows.h"
#include "fathom/model/config/storage_plan.h"
#include "fathom/model/config/write_keys.h"

namespace fathom::config {
namespace {

using nlohmann::ordered_json;
using numeric::ScaleFormat;
using numeric::WeightFormat;

constexpr RopeConfig kPublishedPlainRope{.base = 10000, .yarn = std::nullopt};
constexpr RopeConfig kPublishedCompressedRope{.base = 160000, .yarn = std::nullopt};

std::vector<LayerConfig> all_layers(const ModelConfig& config) {
  std::vector<LayerConfig> layers = config.layers;
  layers.insert(layers.end(), config.mtp_layers.begin(), config.mtp_layers.end());
  return layers;
}

// The rotary embedding of all layers with, or without, compression; where there are none the
// released models' serves, because nothing reads it.
RopeConfig common_rope(const std::vector<LayerConfig>& layers,
                       bool is_compressed,
                       RopeConfig fallback) {
  std::optional<RopeConfig> rope;
  for (const LayerConfig& layer : layers) {
    if ((layer.compress_ratio != 0) != is_compressed) {
      continue;
    }
    if (rope && *rope != layer.rope) {
      fail(ErrorCode::Unsupported,
           "config.json: ", is_compressed ? "compress_rope_theta" : "rope_theta",
           ": one value for all layers is all it can say, the model has several");
    }
    rope = layer.rope;
  }
  if (!is_compressed && rope && rope->yarn) {
    fail(ErrorCode::Unsupported,
         "config.json: rope_scaling: cannot apply to layers without compression");
  }
  return rope.value_or(fallback);
}

double common_swiglu_limit(const std::vector<LayerConfig>& layers) {
  const double limit = layers.front().swiglu_limit;
  for (std::size_t idx = 0; idx < layers.size(); ++idx) {
    if (layers[idx].swiglu_limit != limit || layers[idx].shared_swiglu_limit != limit) {
      fail(ErrorCode::Unsupported,
           "config.json: swiglu_limit: one value for all layers is all it can say,", " layer ", idx,
           " has ", layers[idx].swiglu_limit, " and ", layers[idx].shared_swiglu_limit,
           " (shared), layer 0 has ", limit);
    }
  }
  return std::isinf(limit) ? 0 : limit;
}

void write_fixed_values(ordered_json& json) {
  json["architectures"] = {"DeepseekV4ForCausalLM"};
  json["model_type"] = "deepseek_v4";
  json["attention_bias"] = false;
  json["hidden_act"] = "silu";
  json["norm_topk_prob"] = true;
  json["num_key_value_heads"] = 1;
  json["scoring_func"] = "sqrtsoftplus";
  json["tie_word_embeddings"] = false;
  json["topk_method"] = "noaux_tc";
  json["torch_dtype"] = "bfloat16";
}

void write_layers(const ModelConfig& config, ordered_json& json) {
  const std::vector<LayerConfig> layers = all_layers(config);
  json["num_hidden_layers"] = config.num_layers();
  json["num_nextn_predict_layers"] = config.mtp_layers.size();
  std::vector<RouterKind> routers;
  for (const LayerConfig& layer : config.layers) {
    routers.push_back(layer.router);
  }
  // Only transformers' key can say that other layers than the first are hashed.
  if (routers != leading_hash_routers(config.num_hash_layers, config.num_layers())) {
    for (const RouterKind router : routers) {
      json["mlp_layer_types"].push_back(router == RouterKind::HashTable ? "hash_moe" : "moe");
    }
  }
  json["compress_ratios"] = ordered_json::array();
  for (const LayerConfig& layer : layers) {
    json["compress_ratios"].push_back(layer.compress_ratio);
  }
  json["swiglu_limit"] = common_swiglu_limit(layers);
  json["rope_theta"] = plain_number(common_rope(layers, false, kPublishedPlainRope).base);
  const RopeConfig compressed = common_rope(layers, true, kPublishedCompressedRope);
  json["compress_rope_theta"] = plain_number(compressed.base);
  if (compressed.yarn) {
    json["rope_scaling"] = {{"beta_fast", plain_number(compressed.yarn->beta_fast)},
                            {"beta_slow", plain_number(compressed.yarn->beta_slow)},
                            {"factor", plain_number(compressed.yarn->factor)},
                            {"original_max_position_embeddings", compressed.yarn->original_context},
                            {"type", "yarn"}};
  } else {
    json["rope_scaling"] = nullptr;
  }
}

void write_storage(const StoragePlan& storage, ordered_json& json) {
  const std::optional<std::string_view> experts = find_config_format_name(storage.experts);
  const bool is_plain =
      storage.dense == WeightFormat::BF16 ||
      (storage.dense == WeightFormat::F32 && storage.experts == WeightFormat::F32);
  const bool is_dense_known = storage.dense == WeightFormat::Fp8 || is_plain;
  if (!experts || !is_dense_known) {
    fail(ErrorCode::Unsupported, "config.json: expert_dtype: cannot say ",
         numeric::to_string(storage.experts), " experts beside ",
         numeric::to_string(storage.dense));
  }
  json["expert_dtype"] = *experts;
  if (is_plain) {
    return;
  }
  // -Base has F32 scales and says ue8m0 all the same: it is the rounding of its activations.
  const bool is_official =
      storage.dense_scale == ScaleFormat::E8M0 || storage.experts == WeightFormat::Fp8;
  json["quantization_config"] = {
      {"activation_scheme", "dynamic"},
      {"fmt", "e4m3"},
      {"quant_method", "fp8"},
      {"scale_fmt", is_official ? "ue8m0" : "float"},
      {"weight_block_size", {numeric::kFp8TileRows, numeric::kFp8TileColumns}}};
}

constexpr std::uint32_t kSqrtSoftplus = 4;  // llama.cpp's number of the gating function

class DeepseekV4Metadata {
 public:
  explicit DeepseekV4Metadata(const ModelConfig& config)
      : config_(config), keys_(kDeepseekV4Architecture) {}

  std::vector<formats::GgufWriteValue> build() {
    keys_.add_facts(config_);
    keys_.own("block_count", gguf_count(config_.num_layers()));
    keys_.own("feed_forward_length", gguf_count(config_.expert_hidden));
    keys_.own("expert_gating_func", kSqrtSoftplus);
    keys_.own("expert_weights_norm", true);
    keys_.own("attention.head_count_kv", gguf_count(1));
    keys_.own("attention.value_length", gguf_count(config_.head_dim));
    add_layers();
    add_ropes();
    return keys_.take();
  }

 private:
  void add_layers() {
    const auto written = [](double limit) {  // 0: no clamp
      return std::isfinite(limit) ? static_cast<float>(limit) : 0.0F;
    };
    std::vector<std::int32_t> ratios;
    std::vector<float> limits;
    std::vector<float> shared_limits;
    for (const LayerConfig& layer : config_.layers) {
      ratios.push_back(static_cast<std::int32_t>(layer.compress_ratio));
      limits.push_back(written(layer.swiglu_limit));
      shared_limits.push_back(written(layer.shared_swiglu_limit));
    }
    keys_.own("attention.compress_ratios", std::move(ratios));
    keys_.own("swiglu_clamp_exp", std::move(limits));
    keys_.own("swiglu_clamp_shexp", std::move(shared_limits));
  }

  // A model without one kind of layer keeps no base for it; the other one's is then as good.
  const RopeConfig& rope_of(bool is_compressed) const {
    for (const LayerConfig& layer : config_.layers) {
      if ((layer.compress_ratio != 0) == is_compressed) {
        return layer.rope;
      }
    }
    return config_.layers.front().rope;
  }

  void add_ropes() {
    const RopeConfig& compressed = rope_of(true);
    keys_.own("rope.freq_base", static_cast<float>(rope_of(false).base));
    keys_.own("attention.compress_rope_freq_base", static_cast<float>(compressed.base));
    if (!compressed.yarn) {
      return;
    }
    keys_.own("rope.scaling.type", std::string("yarn"));
    keys_.own("rope.scaling.factor", static_cast<float>(compressed.yarn->factor));
    keys_.own("rope.scaling.original_context_length",
              gguf_count(compressed.yarn->original_context));
    keys_.own("rope.scaling.yarn_beta_fast", static_cast<float>(compressed.yarn->beta_fast));
    keys_.own("rope.scaling.yarn_beta_slow", static_cast<float>(compressed.yarn->beta_slow));
  }

  const ModelConfig& config_;
  GgufKeys keys_;
};

}  // namespace

std::string write_deepseek_v4_json(const ModelConfig& config, const StoragePlan& storage) {
  ordered_json json;
  write_fixed_values(json);
  for (const IntegerFact& fact : deepseek_v4_integers()) {
    json[std::string(fact.names.config_json)] = config.*fact.member;
  }
  for (const NumberFact& fact : deepseek_v4_numbers()) {
    json[std::string(fact.names.config_json)] = config.*fact.member;
  }
  write_layers(config, json);
  write_storage(storage, json);
  return json.dump(2) + "\n";
}

std::vector<formats::GgufWriteValue> write_deepseek_v4_gguf(const ModelConfig& config) {
  return DeepseekV4Metadata(config).build();
}

}  // namespace fathom::config
