#include <array>
#include <utility>

#include "fathom/base/formats/text.h"
#include "fathom/model/config/deepseek_v4_facts.h"
#include "fathom/model/config/family_rows.h"
#include "fathom/model/config/gguf_fields.h"

namespace fathom::config {
namespace {

constexpr Index kSqrtSoftplus = 4;  // llama.cpp's number of the gating function

// Keys of the architecture that repeat others or steer one engine.
constexpr auto kUnneededKeys = std::to_array<std::string_view>({
    "feed_forward_length",
    "rope.scaling.attn_factor",
    "rope.scaling.finetuned",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_log_multiplier",
});

class DeepseekV4GgufReader {
 public:
  DeepseekV4GgufReader(const formats::GgufHeader& header, const std::string& file)
      : fields_(header, file, std::string(kDeepseekV4Architecture)) {}

  ParsedConfig read() {
    check_fixed_values();
    read_facts();
    Schedule schedule;
    const Index num_layers = read_num_layers();
    schedule.num_mtp = fields_.has_tensor_prefix("mtp.0.") ? 1 : 0;
    schedule.routers = leading_hash_routers(config_.num_hash_layers, num_layers);
    read_ratios(schedule, num_layers);
    read_ropes(schedule);
    const auto limits = read_limits("swiglu_clamp_exp", num_layers + schedule.num_mtp);
    if (!limits) {
      fields_.fail_missing(fields_.full("swiglu_clamp_exp"));
    }
    schedule.swiglu_limits = *limits;
    // Files of converters that did not know the shared expert's clamp: llama.cpp copies the other.
    schedule.shared_swiglu_limits =
        read_limits("swiglu_clamp_shexp", num_layers + schedule.num_mtp).value_or(*limits);
    const std::string ratios_key = fields_.full("attention.compress_ratios");
    const std::string layers_key = fields_.full("block_count");
    set_layers(config_, schedule,
               {.num_layers = layers_key, .num_mtp = "blocks in mtp.*", .ratios = ratios_key},
               fields_.file());
    check_contradictions(config_, Dialect::Gguf, fields_.file());
    for (const std::string_view key : kUnneededKeys) {
      static_cast<void>(fields_.full(key));
    }
    config_.unknown_keys = fields_.unknown_keys();
    // What a GGUF stores is in its tensors, not in its metadata.
    return {.model = std::move(config_), .storage = std::nullopt, .assumed = {}};
  }

 private:
  void check_fixed_values() {
    fields_.require_integer("expert_gating_func", kSqrtSoftplus, false);
    fields_.require_integer("attention.head_count_kv", 1, false);
    fields_.require_integer("expert_group_count", 0, true);
    fields_.require_integer("expert_group_used_count", 0, true);
    fields_.require_integer("leading_dense_block_count", 0, true);
    const std::string norm_key = fields_.full("expert_weights_norm");
    const std::optional<bool> is_normed = fields_.header().find_bool(norm_key, fields_.file());
    if (!is_normed) {
      fields_.fail_missing(norm_key);
    }
    if (!*is_normed) {
      fail(ErrorCode::Unsupported, fields_.file(), ": ", norm_key,
           ": only true is supported, found false");
    }
  }

  void read_facts() {
    for (const IntegerFact& fact : deepseek_v4_integers()) {
      config_.*fact.member = fact.member == &ModelConfig::vocab_size
                                 ? fields_.vocab_size(fact.names.gguf, fact.range)
                                 : fields_.integer(fact.names.gguf, fact.range);
    }
    for (const NumberFact& fact : deepseek_v4_numbers()) {
      config_.*fact.member = fields_.number(fact.names.gguf, fact.range);
    }
    const auto value_length = fields_.find_integer("attention.value_length", {1, Index{1} << 32});
    if (value_length && *value_length != config_.head_dim) {
      fail(ErrorCode::InvalidCheckpoint, fields_.file(), ": ",
           fields_.full("attention.value_length"), ": expected ", config_.head_dim, " (",
           fields_.full("attention.key_length"), "), found ", *value_length);
    }
  }

  // llama.cpp's files with MTP count it in block_count and carry its tensors, with both projections
  // fused, in the last block. Those blocks are left unused. Others keep nextn_predict_layers of the
  // original without any tensor for it; then every block is a layer.
  Index read_num_layers() {
    const Index num_blocks = fields_.integer("block_count", kLayerCountRange);
    const Index num_mtp =
        fields_.find_integer("nextn_predict_layers", {0, kLayerCountRange.maximum}).value_or(0);
    check_mtp_count(num_mtp, fields_.full("nextn_predict_layers"), fields_.file());
    const std::string fused = "blk." + std::to_string(num_blocks - num_mtp) + ".nextn.";
    return num_mtp > 0 && num_blocks > num_mtp && fields_.has_tensor_prefix(fused)
               ? num_blocks - num_mtp
               : num_blocks;
  }

  void read_ratios(Schedule& schedule, Index num_layers) {
    const std::string key = fields_.full("attention.compress_ratios");
    const auto ratios = fields_.header().find_integers(key, fields_.file());
    if (!ratios) {
      fields_.fail_missing(key);
    }
    schedule.ratios = *ratios;
    // ds4's files with MTP may list the layers only: the block slides.
    if (schedule.num_mtp > 0 && to_index(schedule.ratios.size()) == num_layers) {
      schedule.ratios.push_back(0);
    }
  }

  void read_ropes(Schedule& schedule) {
    schedule.plain_rope.base = fields_.number("rope.freq_base", kRopeBaseRange);
    schedule.compressed_rope.base =
        fields_.number("attention.compress_rope_freq_base", kRopeBaseRange);
    const std::string type_key = fields_.full("rope.scaling.type");
    const std::string type =
        fields_.header().find_string(type_key, fields_.file()).value_or("none");
    for (const std::string_view key :
         {"factor", "original_context_length", "yarn_beta_fast", "yarn_beta_slow"}) {
      static_cast<void>(fields_.full("rope.scaling." + std::string(key)));
    }
    if (type == "none") {
      return;
    }
    if (type != "yarn") {
      fail(ErrorCode::Unsupported, fields_.file(), ": ", type_key,
           ": only \"yarn\" is supported, found ", formats::quote(type));
    }
    const Index original_context =
        fields_.integer("rope.scaling.original_context_length", kYarnContextRange);
    if (original_context > 0) {
      schedule.compressed_rope.yarn = {
          .factor = fields_.number("rope.scaling.factor", kYarnNumberRange),
          .original_context = original_context,
          .beta_fast = fields_.number("rope.scaling.yarn_beta_fast", kYarnNumberRange),
          .beta_slow = fields_.number("rope.scaling.yarn_beta_slow", kYarnNumberRange)};
    }
  }

  // One number for all blocks or one each; a list of the layers alone serves the MTP block with the
  // last layer's.
  std::optional<std::vector<double>> read_limits(std::string_view key, Index num_blocks) {
    const std::string name = fields_.full(key);
    const auto found = fields_.header().metadata.find(name);
    if (found == fields_.header().metadata.end()) {
      return std::nullopt;
    }
    if (!std::holds_alternative<formats::GgufArray>(found->second)) {
      return std::vector<double>(to_size(num_blocks), fields_.number(key, kSwigluLimitRange));
    }
    std::vector<double> limits = fields_.header().find_numbers(name, fields_.file()).value();
    for (std::size_t idx = 0; idx < limits.size(); ++idx) {
      limits[idx] = fields_.check_range(name + "[" + std::to_string(idx) + "]",
                                        decimal_of_float(limits[idx]), kSwigluLimitRange);
    }
    const Index num_layers = num_blocks - (fields_.has_tensor_prefix("mtp.0.") ? 1 : 0);
    if (to_index(limits.size()) < num_layers) {
      fail(ErrorCode::InvalidCheckpoint, fields_.file(), ": ", name, ": expected ", num_blocks,
           " entries (one per block), found ", limits.size());
    }
    limits.resize(to_size(num_blocks), limits.back());
    return limits;
  }

  GgufFields fields_;
  ModelConfig config_;
};

}  // namespace

ParsedConfig read_deepseek_v4_gguf(const formats::GgufHeader& header, const std::string& file) {
  return DeepseekV4GgufReader(header, file).read();
}

}  // namespace fathom::config
