#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "fathom/base/formats/text.h"
#include "fathom/model/config/deepseek_v4_facts.h"
#include "fathom/model/config/family_rows.h"
#include "fathom/model/config/json_fields.h"
#include "fathom/model/config/storage_plan.h"

namespace fathom::config {
namespace {

using numeric::ScaleFormat;
using numeric::WeightFormat;

// Keys of transformers and of training that say nothing about shapes or arithmetic.
constexpr auto kUnneededKeys = std::to_array<std::string_view>({
    "_name_or_path",
    "_attn_implementation",
    "attention_dropout",
    "auto_map",
    "chunk_size_feed_forward",
    "dtype",
    "id2label",
    "initializer_range",
    "intermediate_size",
    "is_encoder_decoder",
    "label2id",
    "num_local_experts",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "pad_token_id",
    "problem_type",
    "return_dict",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "torch_dtype",
    "transformers_version",
    "use_cache",
});

struct LayerTypeRow {
  std::string_view name;
  Index ratio;
};

constexpr auto kLayerTypes = std::to_array<LayerTypeRow>({
    {"sliding_attention", 0},
    {"compressed_sparse_attention", 4},
    {"heavily_compressed_attention", 128},
});

struct RouterRow {
  std::string_view name;
  RouterKind kind;
};

constexpr auto kRouterTypes = std::to_array<RouterRow>({
    {"hash_moe", RouterKind::HashTable},
    {"hash", RouterKind::HashTable},  // the tiny configs made for transformers' tests
    {"moe", RouterKind::TopK},
});

class ConfigReader {
 public:
  explicit ConfigReader(JsonFields fields) : fields_(std::move(fields)) {}

  ModelConfig read() {
    check_architecture();
    check_fixed_values();
    read_facts();
    Schedule schedule;
    schedule.num_mtp = read_num_mtp();
    num_layers_ = fields_.integer("num_hidden_layers", kLayerCountRange);
    schedule.routers = read_routers();
    schedule.ratios = read_ratios(schedule.num_mtp);
    read_ropes(schedule);
    const double limit = fields_.number("swiglu_limit", kSwigluLimitRange);
    schedule.swiglu_limits.assign(to_size(num_layers_ + schedule.num_mtp), limit);
    schedule.shared_swiglu_limits = schedule.swiglu_limits;
    const ScheduleKeys keys{.num_layers = "num_hidden_layers",
                            .num_mtp = "num_nextn_predict_layers",
                            .ratios = has_layer_types() ? "layer_types" : "compress_ratios"};
    set_layers(config_, schedule, keys, fields_.file());
    check_contradictions(config_, Dialect::ConfigJson, fields_.file());
    return std::move(config_);
  }

  // Storage by quantization_config and expert_dtype; `sibling` is the inference config or null.
  std::optional<StoragePlan> read_storage(JsonFields* sibling);

  std::vector<std::string> unknown_keys();

 private:
  void check_architecture();
  void check_fixed_values();
  void read_facts();
  Index read_token(std::string_view key, IntegerRange range);
  Index read_rope_dim(IntegerRange range);
  Index read_num_mtp();
  bool has_layer_types() const { return fields_.has("layer_types"); }
  std::vector<RouterKind> read_routers();
  std::vector<Index> read_ratios(Index num_mtp);
  void check_compress_rates();
  void read_ropes(Schedule& schedule);
  double read_rope_base(std::string_view key, std::optional<JsonFields>& nested);
  std::optional<RopeConfig::Yarn> read_yarn(JsonFields& scaling);
  void check_partial_factor(JsonFields& fields);
  std::optional<WeightFormat> read_expert_format(std::optional<JsonFields>& quantization);
  void keep_unknown(const JsonFields& nested) {
    const std::vector<std::string> keys = nested.unknown_keys();
    nested_unknown_.insert(nested_unknown_.end(), keys.begin(), keys.end());
  }

  JsonFields fields_;
  ModelConfig config_;
  Index num_layers_ = 0;
  std::vector<std::string> nested_unknown_;
};

void ConfigReader::check_architecture() {
  std::vector<std::string> names;
  fields_.ignore("architectures");
  if (fields_.has("architectures")) {
    names = fields_.texts("architectures");
  }
  const std::string model_type = fields_.text("model_type");
  if (model_type == "deepseek_v41" ||
      std::find(names.begin(), names.end(), "DeepseekV41ForCausalLM") != names.end()) {
    fields_.fail_at(ErrorCode::Unsupported,
                    model_type == "deepseek_v41" ? "model_type" : "architectures",
                    "DeepSeek-V4.1 (DeepseekV41ForCausalLM) is not supported, only DeepSeek-V4");
  }
  for (const std::string& name : names) {
    if (name != "DeepseekV4ForCausalLM") {
      fields_.fail_at(ErrorCode::Unsupported, "architectures",
                      "only \"DeepseekV4ForCausalLM\" is supported, found " + formats::quote(name));
    }
  }
}

void ConfigReader::check_fixed_values() {
  for (const std::string& key : fields_.keys()) {
    if (key.find("dspark") != std::string::npos) {
      fields_.fail_at(ErrorCode::Unsupported, formats::quote(key),
                      "the DSpark drafter is not supported");
    }
  }
  // save_pretrained does not write topk_method for a model that was made by transformers.
  if (!has_layer_types() || fields_.has("topk_method")) {
    static_cast<void>(fields_.text("topk_method"));
  }
  for (const std::string_view key : {"hidden_act", "scoring_func"}) {
    static_cast<void>(fields_.text(key));
  }
  for (const std::string_view key : {"norm_topk_prob", "attention_bias", "tie_word_embeddings"}) {
    static_cast<void>(fields_.boolean(key));
  }
  fields_.require_text("hidden_act", "silu");
  fields_.require_text("scoring_func", "sqrtsoftplus");
  fields_.require_text("topk_method", "noaux_tc");
  fields_.require_boolean("norm_topk_prob", true);
  fields_.require_boolean("attention_bias", false);
  fields_.require_boolean("mlp_bias", false);
  fields_.require_boolean("tie_word_embeddings", false);
  const Index num_key_value_heads = fields_.integer("num_key_value_heads", {1, Index{1} << 20});
  if (num_key_value_heads != 1) {
    fields_.fail_at(ErrorCode::Unsupported, "num_key_value_heads",
                    "only 1 is supported, found " + std::to_string(num_key_value_heads));
  }
}

void ConfigReader::read_facts() {
  for (const IntegerFact& fact : deepseek_v4_integers()) {
    const std::string_view key = fact.names.config_json;
    if (fact.member == &ModelConfig::num_hash_layers) {
      continue;  // read with the routers
    }
    if (fact.member == &ModelConfig::rope_dim) {
      config_.rope_dim = read_rope_dim(fact.range);
    } else if (fact.member == &ModelConfig::bos_token || fact.member == &ModelConfig::eos_token) {
      config_.*fact.member = read_token(key, fact.range);
    } else {
      config_.*fact.member = fields_.integer(key, fact.range);
    }
  }
  for (const NumberFact& fact : deepseek_v4_numbers()) {
    config_.*fact.member = fields_.number(fact.names.config_json, fact.range);
  }
}

Index ConfigReader::read_token(std::string_view key, IntegerRange range) {
  if (!fields_.is_list(key)) {
    return fields_.integer(key, range);
  }
  const std::vector<Index> tokens = fields_.integers(key, range);
  if (tokens.size() != 1) {
    fields_.fail_at(
        ErrorCode::Unsupported, key,
        "only one token is supported, found a list of " + std::to_string(tokens.size()));
  }
  return tokens.front();
}

// Official configs count the rotated dimensions; transformers may give only their share of
// head_dim, which it has read before (the table lists head_dim first).
Index ConfigReader::read_rope_dim(IntegerRange range) {
  const std::string_view factor_key = "partial_rotary_factor";
  if (!fields_.has(factor_key) || fields_.has("qk_rope_head_dim")) {
    fields_.ignore(factor_key);
    config_.rope_dim = fields_.integer("qk_rope_head_dim", range);
    check_partial_factor(fields_);
    return config_.rope_dim;
  }
  const double factor = fields_.number(factor_key, {0, 1});
  const double product = factor * static_cast<double>(config_.head_dim);
  const Index rope_dim = static_cast<Index>(std::lround(product));
  if (rope_dim < range.minimum) {
    fields_.fail_at(ErrorCode::InvalidCheckpoint, factor_key,
                    "expected at least 2 of head_dim (" + std::to_string(config_.head_dim) +
                        "), found " + to_text(factor));
  }
  return rope_dim;
}

void ConfigReader::check_partial_factor(JsonFields& fields) {
  const std::string_view key = "partial_rotary_factor";
  fields.ignore(key);
  if (!fields.has(key)) {
    return;
  }
  const double factor = fields.number(key, {0, 1});
  const double product = factor * static_cast<double>(config_.head_dim);
  if (!(std::abs(product - static_cast<double>(config_.rope_dim)) < 1)) {
    fields.fail_at(ErrorCode::InvalidCheckpoint, key,
                   "expected qk_rope_head_dim / head_dim (" + std::to_string(config_.rope_dim) +
                       " / " + std::to_string(config_.head_dim) + "), found " + to_text(factor));
  }
}

Index ConfigReader::read_num_mtp() {
  const IntegerRange range{0, kLayerCountRange.maximum};
  for (const std::string_view key : {"n_mtp_layers", "num_mtp_layers"}) {  // of later releases
    fields_.ignore(key);
    if (fields_.has(key)) {
      check_mtp_count(fields_.integer(key, range), key, fields_.file());
    }
  }
  const Index num_mtp = fields_.integer("num_nextn_predict_layers", range);
  check_mtp_count(num_mtp, "num_nextn_predict_layers", fields_.file());
  return num_mtp;
}

std::vector<RouterKind> ConfigReader::read_routers() {
  const IntegerRange range{0, kLayerCountRange.maximum};
  fields_.ignore("num_hash_layers");
  if (!fields_.has("mlp_layer_types")) {
    fields_.ignore("mlp_layer_types");
    config_.num_hash_layers = fields_.integer("num_hash_layers", range);
    return leading_hash_routers(config_.num_hash_layers, num_layers_);
  }
  std::vector<RouterKind> routers;
  for (const std::string& name : fields_.texts("mlp_layer_types")) {
    const auto* const row =
        std::find_if(kRouterTypes.begin(), kRouterTypes.end(),
                     [&name](const RouterRow& entry) { return entry.name == name; });
    if (row == kRouterTypes.end()) {
      fields_.fail_at(ErrorCode::Unsupported,
                      "mlp_layer_types[" + std::to_string(routers.size()) + "]",
                      "expected hash_moe or moe, found " + formats::quote(name));
    }
    routers.push_back(row->kind);
  }
  if (to_index(routers.size()) != num_layers_) {
    fields_.fail_at(ErrorCode::InvalidCheckpoint, "mlp_layer_types",
                    "expected " + std::to_string(num_layers_) +
                        " entries (num_hidden_layers), found " + std::to_string(routers.size()));
  }
  config_.num_hash_layers = to_index(
      static_cast<std::size_t>(std::count(routers.begin(), routers.end(), RouterKind::HashTable)));
  if (fields_.has("num_hash_layers") &&
      fields_.integer("num_hash_layers", range) != config_.num_hash_layers) {
    fields_.fail_at(ErrorCode::InvalidCheckpoint, "num_hash_layers",
                    "expected " + std::to_string(config_.num_hash_layers) +
                        " (hash_moe in mlp_layer_types), found " +
                        std::to_string(fields_.integer("num_hash_layers", range)));
  }
  return routers;
}

void ConfigReader::check_compress_rates() {
  const auto check = [](JsonFields& fields, std::string_view key, Index expected) {
    fields.ignore(key);
    if (!fields.has(key)) {
      return;
    }
    const Index rate = fields.integer(key, kRatioRange);
    if (rate != expected) {
      fields.fail_at(
          ErrorCode::Unsupported, key,
          "only " + std::to_string(expected) + " is supported, found " + std::to_string(rate));
    }
  };
  check(fields_, "compress_rate_csa", 4);
  check(fields_, "compress_rate_hca", 128);
  if (std::optional<JsonFields> rates = fields_.find_object("compress_rates")) {
    for (const LayerTypeRow& row : kLayerTypes) {
      check(*rates, row.name, row.ratio);
    }
    keep_unknown(*rates);
  }
}

// The ratios of compress_ratios, or of layer_types (which has no entry for MTP: it slides).
std::vector<Index> ConfigReader::read_ratios(Index num_mtp) {
  check_compress_rates();
  fields_.ignore("layer_types");
  fields_.ignore("compress_ratios");
  if (!has_layer_types()) {
    return fields_.integers("compress_ratios", kRatioRange);
  }
  std::vector<Index> ratios;
  for (const std::string& name : fields_.texts("layer_types")) {
    const auto* const row =
        std::find_if(kLayerTypes.begin(), kLayerTypes.end(),
                     [&name](const LayerTypeRow& entry) { return entry.name == name; });
    if (row == kLayerTypes.end()) {
      fields_.fail_at(ErrorCode::Unsupported, "layer_types[" + std::to_string(ratios.size()) + "]",
                      "expected sliding_attention, compressed_sparse_attention or "
                      "heavily_compressed_attention, found " +
                          formats::quote(name));
    }
    ratios.push_back(row->ratio);
  }
  if (to_index(ratios.size()) != num_layers_) {
    fields_.fail_at(ErrorCode::InvalidCheckpoint, "layer_types",
                    "expected " + std::to_string(num_layers_) +
                        " entries (num_hidden_layers), found " + std::to_string(ratios.size()));
  }
  if (fields_.has("compress_ratios")) {
    const std::vector<Index> listed = fields_.integers("compress_ratios", kRatioRange);
    if (listed.size() < ratios.size() ||
        !std::equal(ratios.begin(), ratios.end(), listed.begin())) {
      fields_.fail_at(ErrorCode::InvalidCheckpoint, "compress_ratios",
                      "expected the ratios of layer_types, found others");
    }
    return listed;
  }
  ratios.resize(to_size(num_layers_ + num_mtp), 0);
  return ratios;
}

double ConfigReader::read_rope_base(std::string_view key, std::optional<JsonFields>& nested) {
  if (!nested) {
    return fields_.number(key, kRopeBaseRange);
  }
  const double base = nested->number("rope_theta", kRopeBaseRange);
  fields_.ignore(key);
  if (fields_.has(key) && fields_.number(key, kRopeBaseRange) != base) {
    fields_.fail_at(ErrorCode::InvalidCheckpoint, key,
                    "expected " + to_text(base) + " (rope_theta in rope_parameters), found " +
                        to_text(fields_.number(key, kRopeBaseRange)));
  }
  return base;
}

// rope_scaling of official configs, or the "compress" part of transformers' rope_parameters.
std::optional<RopeConfig::Yarn> ConfigReader::read_yarn(JsonFields& scaling) {
  std::string type;
  for (const std::string_view key : {"rope_type", "type"}) {
    scaling.ignore(key);
    if (scaling.has(key)) {
      type = scaling.text(key);
      if (type != "yarn" && type != "default") {
        scaling.fail_at(ErrorCode::Unsupported, key,
                        "only yarn is supported, found " + formats::quote(type));
      }
    }
  }
  if (type.empty()) {
    scaling.fail_at(ErrorCode::InvalidCheckpoint, "type", "key is missing");
  }
  for (const std::string_view key :
       {"attention_factor", "factor", "original_max_position_embeddings", "beta_fast",
        "beta_slow"}) {
    scaling.ignore(key);
  }
  if (type == "default") {
    return std::nullopt;
  }
  if (scaling.has("attention_factor") && scaling.number("attention_factor", {0, 1e6}) != 1) {
    scaling.fail_at(ErrorCode::Unsupported, "attention_factor",
                    "only 1 is supported (V4 scales neither cos nor sin), found " +
                        to_text(scaling.number("attention_factor", {0, 1e6})));
  }
  RopeConfig::Yarn yarn{};
  yarn.original_context = scaling.integer("original_max_position_embeddings", kYarnContextRange);
  if (yarn.original_context == 0) {
    return std::nullopt;
  }
  yarn.factor = scaling.number("factor", kYarnNumberRange);
  yarn.beta_fast = scaling.number("beta_fast", kYarnNumberRange);
  yarn.beta_slow = scaling.number("beta_slow", kYarnNumberRange);
  return yarn;
}

void ConfigReader::read_ropes(Schedule& schedule) {
  std::optional<JsonFields> main;
  std::optional<JsonFields> compress;
  std::optional<JsonFields> scaling = fields_.find_object("rope_scaling");
  if (std::optional<JsonFields> parameters = fields_.find_object("rope_parameters")) {
    if (scaling) {
      fields_.fail_at(ErrorCode::InvalidCheckpoint, "rope_scaling",
                      "expected no such key beside rope_parameters");
    }
    main = parameters->find_object("main");
    compress = parameters->find_object("compress");
    for (const std::string_view key : {"main", "compress"}) {
      if (!parameters->has(key)) {
        parameters->fail_at(ErrorCode::InvalidCheckpoint, key, "key is missing");
      }
    }
    keep_unknown(*parameters);
  }
  schedule.plain_rope.base = read_rope_base("rope_theta", main);
  schedule.compressed_rope.base = read_rope_base("compress_rope_theta", compress);
  if (main) {
    main->require_text("rope_type", "default");
    check_partial_factor(*main);
    keep_unknown(*main);
  }
  std::optional<JsonFields>& yarn = compress ? compress : scaling;
  if (yarn) {
    check_partial_factor(*yarn);
    schedule.compressed_rope.yarn = read_yarn(*yarn);
    keep_unknown(*yarn);
  }
}

std::optional<WeightFormat> ConfigReader::read_expert_format(
    std::optional<JsonFields>& quantization) {
  std::optional<WeightFormat> format;
  fields_.ignore("expert_dtype");
  if (fields_.has("expert_dtype")) {
    format = require_config_format(fields_, "expert_dtype");
  }
  if (quantization) {
    quantization->ignore("expert_dtype");
    if (quantization->has("expert_dtype")) {  // where transformers moves it
      const WeightFormat moved = require_config_format(*quantization, "expert_dtype");
      if (format && *format != moved) {
        quantization->fail_at(ErrorCode::InvalidCheckpoint, "expert_dtype",
                              "expected " + fields_.text("expert_dtype") +
                                  " (expert_dtype), found " + quantization->text("expert_dtype"));
      }
      format = moved;
    }
  }
  return format;
}

std::optional<StoragePlan> ConfigReader::read_storage(JsonFields* sibling) {
  std::optional<JsonFields> quantization = fields_.find_object("quantization_config");
  std::optional<WeightFormat> experts = read_expert_format(quantization);
  if (!quantization) {
    const bool is_f32 = experts == WeightFormat::F32;
    return make_storage_plan(experts.value_or(WeightFormat::BF16),
                             is_f32 ? WeightFormat::F32 : WeightFormat::BF16);
  }
  static_cast<void>(quantization->text("quant_method"));
  quantization->require_text("quant_method", "fp8");
  quantization->require_text("fmt", "e4m3");
  quantization->require_text("activation_scheme", "dynamic");
  for (const std::string_view key :
       {"dequantize", "modules_to_convert", "modules_to_not_convert"}) {
    quantization->ignore(key);
  }
  const std::vector<Index> tile = quantization->integers("weight_block_size", {1, Index{1} << 20});
  if (tile != std::vector<Index>{numeric::kFp8TileRows, numeric::kFp8TileColumns}) {
    quantization->fail_at(ErrorCode::Unsupported, "weight_block_size",
                          "only tiles of 128 x 128 are supported, found others");
  }
  const std::string scale = quantization->text("scale_fmt");
  if (scale != "float") {  // as transformers names F32 scales
    quantization->require_text("scale_fmt", "ue8m0");
  }
  keep_unknown(*quantization);
  if (!experts && sibling != nullptr) {
    experts = find_inference_expert_format(*sibling);
  }
  if (!experts) {
    return std::nullopt;
  }
  StoragePlan plan = make_storage_plan(*experts, WeightFormat::Fp8);
  if (scale == "float") {
    plan.dense_scale = ScaleFormat::F32;
  }
  return plan;
}

std::vector<std::string> ConfigReader::unknown_keys() {
  for (const std::string_view key : kUnneededKeys) {
    fields_.ignore(key);
  }
  std::vector<std::string> unknown = fields_.unknown_keys();
  unknown.insert(unknown.end(), nested_unknown_.begin(), nested_unknown_.end());
  std::sort(unknown.begin(), unknown.end());
  return unknown;
}

// The two files of one folder must describe one model.
void check_sibling(const ModelConfig& config, JsonFields& sibling, const std::string& file) {
  const auto refuse = [&](const FactNames& names, const std::string& expected,
                          const std::string& found) {
    sibling.fail_at(ErrorCode::InvalidCheckpoint, names.inference_json,
                    "expected " + expected + " (" + file + " says so in " +
                        std::string(names.config_json) + "), found " + found);
  };
  for (const IntegerFact& fact : deepseek_v4_integers()) {
    // The context of the inference config is that of one run.
    if (!sibling.has(fact.names.inference_json) || fact.member == &ModelConfig::max_context) {
      continue;
    }
    const Index found = sibling.integer(fact.names.inference_json, fact.range);
    if (found != config.*fact.member) {
      refuse(fact.names, std::to_string(config.*fact.member), std::to_string(found));
    }
  }
  for (const NumberFact& fact : deepseek_v4_numbers()) {
    if (!sibling.has(fact.names.inference_json)) {
      continue;
    }
    const double found = sibling.number(fact.names.inference_json, fact.range);
    if (found != config.*fact.member) {
      refuse(fact.names, to_text(config.*fact.member), to_text(found));
    }
  }
}

}  // namespace

ParsedConfig read_deepseek_v4_json(JsonFields fields, JsonFields* inference) {
  const std::string file = fields.file();
  ConfigReader reader(std::move(fields));
  ParsedConfig parsed;
  parsed.model = reader.read();
  if (inference != nullptr) {
    check_sibling(parsed.model, *inference, file);
  }
  parsed.storage = reader.read_storage(inference);
  parsed.model.unknown_keys = reader.unknown_keys();
  return parsed;
}

}  // namespace fathom::config
