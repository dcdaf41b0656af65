#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <utility>

#include "fathom/base/formats/text.h"
#include "fathom/model/config/config_facts.h"
#include "fathom/model/config/read_config.h"

namespace fathom::config {
namespace {

constexpr std::string_view kArchitecture = "deepseek4";
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

// GGUF keeps fp32; the number that was written in decimal (1e-6) is the shortest that rounds to it.
double decimal_of_float(double value) {
  const float narrow = static_cast<float>(value);
  if (static_cast<double>(narrow) != value) {
    return value;
  }
  std::array<char, 32> text{};
  const auto written = std::to_chars(text.data(), text.data() + text.size(), narrow);
  double decimal = value;
  std::from_chars(text.data(), written.ptr, decimal);
  return decimal;
}

class GgufConfigReader {
 public:
  GgufConfigReader(const formats::GgufHeader& header, const std::string& file)
      : header_(header), file_(file) {}

  ParsedConfig read() {
    check_architecture();
    check_fixed_values();
    read_facts();
    Schedule schedule;
    const Index num_layers = read_num_layers();
    schedule.num_mtp = has_tensor_prefix("mtp.0.") ? 1 : 0;
    schedule.routers = leading_hash_routers(config_.num_hash_layers, num_layers);
    read_ratios(schedule, num_layers);
    read_ropes(schedule);
    const auto limits = read_limits("swiglu_clamp_exp", num_layers + schedule.num_mtp);
    if (!limits) {
      refuse_missing(full("swiglu_clamp_exp"));
    }
    schedule.swiglu_limits = *limits;
    // Files of converters that did not know the shared expert's clamp: llama.cpp copies the other.
    schedule.shared_swiglu_limits =
        read_limits("swiglu_clamp_shexp", num_layers + schedule.num_mtp).value_or(*limits);
    const std::string ratios_key = full("attention.compress_ratios");
    const std::string layers_key = full("block_count");
    set_layers(config_, schedule,
               {.num_layers = layers_key, .num_mtp = "blocks in mtp.*", .ratios = ratios_key},
               file_);
    check_contradictions(config_, Dialect::Gguf, file_);
    config_.unknown_keys = unknown_keys();
    // What a GGUF stores is in its tensors, not in its metadata.
    return {.model = std::move(config_), .storage = std::nullopt, .assumed = {}};
  }

 private:
  // Keys of the table and of this file are relative to the architecture, but for the tokenizer's.
  std::string full(std::string_view key) {
    std::string name = key.starts_with("tokenizer.")
                           ? std::string(key)
                           : std::string(kArchitecture) + "." + std::string(key);
    known_.insert(name);
    return name;
  }

  [[noreturn]] void refuse_missing(const std::string& key) const {
    fail(ErrorCode::InvalidCheckpoint, file_, ": ", key, ": key is missing");
  }

  template <typename Number, typename Range>
  Number check_range(const std::string& key, Number value, Range range) const {
    if (!(value >= range.minimum && value <= range.maximum)) {
      fail(ErrorCode::InvalidCheckpoint, file_, ": ", key, ": expected a number from ",
           range.minimum, " to ", range.maximum, ", found ", value);
    }
    return value;
  }

  std::optional<Index> find_integer(std::string_view key, IntegerRange range) {
    const std::string name = full(key);
    const std::optional<Index> value = header_.find_integer(name, file_);
    return value ? check_range(name, *value, range) : value;
  }

  Index integer(std::string_view key, IntegerRange range) {
    const std::optional<Index> value = find_integer(key, range);
    if (!value) {
      refuse_missing(full(key));
    }
    return *value;
  }

  double number(std::string_view key, NumberRange range) {
    const std::string name = full(key);
    const std::optional<double> value = header_.find_number(name, file_);
    if (!value) {
      refuse_missing(name);
    }
    return check_range(name, decimal_of_float(*value), range);
  }

  void require_integer(std::string_view key, Index expected, bool may_be_absent) {
    const std::string name = full(key);
    const std::optional<Index> value = header_.find_integer(name, file_);
    if (!value && !may_be_absent) {
      refuse_missing(name);
    }
    if (value && *value != expected) {
      fail(ErrorCode::Unsupported, file_, ": ", name, ": only ", expected, " is supported, found ",
           *value);
    }
  }

  bool has_tensor_prefix(std::string_view prefix) const {
    return std::any_of(
        header_.tensors.begin(), header_.tensors.end(),
        [prefix](const formats::GgufTensor& tensor) { return tensor.name.starts_with(prefix); });
  }

  void check_architecture() {
    const std::optional<std::string> name = header_.find_string("general.architecture", file_);
    if (!name) {
      refuse_missing("general.architecture");
    }
    if (*name != kArchitecture) {
      fail(ErrorCode::Unsupported, file_, ": general.architecture: only \"", kArchitecture,
           "\" is supported, found ", formats::quote(*name));
    }
  }

  void check_fixed_values() {
    require_integer("expert_gating_func", kSqrtSoftplus, false);
    require_integer("attention.head_count_kv", 1, false);
    require_integer("expert_group_count", 0, true);
    require_integer("expert_group_used_count", 0, true);
    require_integer("leading_dense_block_count", 0, true);
    const std::string norm_key = full("expert_weights_norm");
    const std::optional<bool> is_normed = header_.find_bool(norm_key, file_);
    if (!is_normed) {
      refuse_missing(norm_key);
    }
    if (!*is_normed) {
      fail(ErrorCode::Unsupported, file_, ": ", norm_key, ": only true is supported, found false");
    }
  }

  void read_facts() {
    for (const IntegerFact& fact : integer_facts()) {
      config_.*fact.member = fact.member == &ModelConfig::vocab_size
                                 ? read_vocab_size(fact)
                                 : integer(fact.names.gguf, fact.range);
    }
    for (const NumberFact& fact : number_facts()) {
      config_.*fact.member = number(fact.names.gguf, fact.range);
    }
    const auto value_length = find_integer("attention.value_length", {1, Index{1} << 32});
    if (value_length && *value_length != config_.head_dim) {
      fail(ErrorCode::InvalidCheckpoint, file_, ": ", full("attention.value_length"), ": expected ",
           config_.head_dim, " (", full("attention.key_length"), "), found ", *value_length);
    }
  }

  // ds4 leaves the key out: there the tokens of the tokenizer count.
  Index read_vocab_size(const IntegerFact& fact) {
    if (const auto size = find_integer(fact.names.gguf, fact.range)) {
      return *size;
    }
    const std::string key = "tokenizer.ggml.tokens";
    const auto found = header_.metadata.find(key);
    const auto* const array =
        found == header_.metadata.end() ? nullptr : std::get_if<formats::GgufArray>(&found->second);
    if (array == nullptr) {
      fail(ErrorCode::InvalidCheckpoint, file_, ": ", full(fact.names.gguf),
           ": key is missing, and so is ", key);
    }
    const Index size = std::visit([](const auto& list) { return to_index(list.size()); }, *array);
    return check_range(key, size, fact.range);
  }

  // llama.cpp's files with MTP count it in block_count and carry its tensors, with both projections
  // fused, in the last block. Those blocks are left unused. Others keep nextn_predict_layers of the
  // original without any tensor for it; then every block is a layer.
  Index read_num_layers() {
    const Index num_blocks = integer("block_count", kLayerCountRange);
    const Index num_mtp =
        find_integer("nextn_predict_layers", {0, kLayerCountRange.maximum}).value_or(0);
    check_mtp_count(num_mtp, full("nextn_predict_layers"), file_);
    const std::string fused = "blk." + std::to_string(num_blocks - num_mtp) + ".nextn.";
    return num_mtp > 0 && num_blocks > num_mtp && has_tensor_prefix(fused) ? num_blocks - num_mtp
                                                                           : num_blocks;
  }

  void read_ratios(Schedule& schedule, Index num_layers) {
    const std::string key = full("attention.compress_ratios");
    const auto ratios = header_.find_integers(key, file_);
    if (!ratios) {
      refuse_missing(key);
    }
    schedule.ratios = *ratios;
    // ds4's files with MTP may list the layers only: the block slides.
    if (schedule.num_mtp > 0 && to_index(schedule.ratios.size()) == num_layers) {
      schedule.ratios.push_back(0);
    }
  }

  void read_ropes(Schedule& schedule) {
    schedule.plain_rope.base = number("rope.freq_base", kRopeBaseRange);
    schedule.compressed_rope.base = number("attention.compress_rope_freq_base", kRopeBaseRange);
    const std::string type_key = full("rope.scaling.type");
    const std::string type = header_.find_string(type_key, file_).value_or("none");
    for (const std::string_view key :
         {"factor", "original_context_length", "yarn_beta_fast", "yarn_beta_slow"}) {
      static_cast<void>(full("rope.scaling." + std::string(key)));
    }
    if (type == "none") {
      return;
    }
    if (type != "yarn") {
      fail(ErrorCode::Unsupported, file_, ": ", type_key, ": only \"yarn\" is supported, found ",
           formats::quote(type));
    }
    const Index original_context =
        integer("rope.scaling.original_context_length", kYarnContextRange);
    if (original_context > 0) {
      schedule.compressed_rope.yarn = {
          .factor = number("rope.scaling.factor", kYarnNumberRange),
          .original_context = original_context,
          .beta_fast = number("rope.scaling.yarn_beta_fast", kYarnNumberRange),
          .beta_slow = number("rope.scaling.yarn_beta_slow", kYarnNumberRange)};
    }
  }

  // One number for all blocks or one each; a list of the layers alone serves the MTP block with the
  // last layer's.
  std::optional<std::vector<double>> read_limits(std::string_view key, Index num_blocks) {
    const std::string name = full(key);
    const auto found = header_.metadata.find(name);
    if (found == header_.metadata.end()) {
      return std::nullopt;
    }
    if (!std::holds_alternative<formats::GgufArray>(found->second)) {
      return std::vector<double>(to_size(num_blocks), number(key, kSwigluLimitRange));
    }
    std::vector<double> limits = header_.find_numbers(name, file_).value();
    for (std::size_t idx = 0; idx < limits.size(); ++idx) {
      limits[idx] = check_range(name + "[" + std::to_string(idx) + "]",
                                decimal_of_float(limits[idx]), kSwigluLimitRange);
    }
    const Index num_layers = num_blocks - (has_tensor_prefix("mtp.0.") ? 1 : 0);
    if (to_index(limits.size()) < num_layers) {
      fail(ErrorCode::InvalidCheckpoint, file_, ": ", name, ": expected ", num_blocks,
           " entries (one per block), found ", limits.size());
    }
    limits.resize(to_size(num_blocks), limits.back());
    return limits;
  }

  std::vector<std::string> unknown_keys() {
    for (const std::string_view key : kUnneededKeys) {
      known_.insert(full(key));
    }
    std::vector<std::string> unknown;
    const std::string prefix = std::string(kArchitecture) + ".";
    for (const auto& [key, value] : header_.metadata) {
      if (key.starts_with(prefix) && !known_.contains(key)) {
        unknown.push_back(key);
      }
    }
    return unknown;
  }

  const formats::GgufHeader& header_;
  const std::string& file_;
  ModelConfig config_;
  std::set<std::string> known_;
};

}  // namespace

ParsedConfig parse_gguf_config(const formats::GgufHeader& header, const std::string& file) {
  return GgufConfigReader(header, file).read();
}

}  // namespace fathom::config
