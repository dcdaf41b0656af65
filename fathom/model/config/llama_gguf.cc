#include <array>
#include <utility>

#include "fathom/base/formats/text.h"
#include "fathom/model/config/family_rows.h"
#include "fathom/model/config/gguf_fields.h"
#include "fathom/model/config/llama_facts.h"

namespace fathom::config {
namespace {

// Keys of the architecture that steer one engine.
constexpr auto kUnneededKeys = std::to_array<std::string_view>({
    "rope.scaling.attn_factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
});

constexpr NumberRange kScaleRange{0, kRopeFactorRange.maximum};

class LlamaGgufReader {
 public:
  LlamaGgufReader(const formats::GgufHeader& header, const std::string& file)
      : fields_(header, file, std::string(kLlamaArchitecture)) {}

  ParsedConfig read() {
    config_.family = Family::Llama;
    check_fixed_values();
    read_facts();
    check_head_dims();
    config_.is_head_tied = !fields_.has_tensor("output.weight");
    // How converters write llama3 scaling.
    config_.has_rope_divisors = fields_.has_tensor("rope_freqs.weight");
    set_llama_layers(config_, fields_.integer("block_count", kLayerCountRange), read_rope());
    check_llama(config_, Dialect::Gguf, fields_.file());
    for (const std::string_view key : kUnneededKeys) {
      static_cast<void>(fields_.full(key));
    }
    config_.unknown_keys = fields_.unknown_keys();
    parsed_.model = std::move(config_);
    return std::move(parsed_);
  }

 private:
  void check_fixed_values() {
    fields_.require_integer("expert_count", 0, true);
    fields_.require_integer("expert_used_count", 0, true);
    for (const formats::GgufTensor& tensor : fields_.header().tensors) {
      if (tensor.name.starts_with("blk.") && tensor.name.ends_with(".bias")) {
        fail(ErrorCode::Unsupported, fields_.file(), ": ", formats::quote(tensor.name),
             ": linear layers with bias are not supported");
      }
    }
    if (const auto scale = fields_.find_number("attention.scale", {0, 1e6}); scale && *scale != 0) {
      fail(ErrorCode::Unsupported, fields_.file(), ": ", fields_.full("attention.scale"),
           ": only 1 / sqrt(head dimension) is supported, found ", *scale);
    }
  }

  void read_facts() {
    using M = ModelConfig;
    for (const IntegerFact& fact : llama_integers()) {
      const std::string_view key = fact.names.gguf;
      Index& value = config_.*fact.member;
      if (fact.member == &M::vocab_size) {
        value = fields_.vocab_size(key, fact.range);
      } else if (fact.member == &M::bos_token || fact.member == &M::eos_token) {
        value = fields_.find_integer(key, fact.range).value_or(ModelConfig::kNoToken);
      } else if (fact.member == &M::num_key_value_heads) {
        value = fields_.find_integer(key, fact.range).value_or(config_.num_heads);
      } else if (fact.member == &M::head_dim) {
        const auto given = fields_.find_integer(key, fact.range);
        value = given ? *given : default_head_dim(config_, Dialect::Gguf, fields_.file());
      } else {
        value = fields_.integer(key, fact.range);
      }
    }
    for (const NumberFact& fact : llama_numbers()) {
      config_.*fact.member = fields_.number(fact.names.gguf, fact.range);
    }
    // The end of a turn, of models made for chat.
    const auto end_of_turn = fields_.find_integer("tokenizer.ggml.eot_token_id", kTokenRange);
    if (end_of_turn && *end_of_turn != config_.eos_token) {
      config_.more_eos_tokens.push_back(*end_of_turn);
    }
    const auto window = fields_.find_integer("attention.sliding_window", {0, kTokensRange.maximum});
    if (window && *window > 0 && *window < config_.max_context) {
      fail(ErrorCode::Unsupported, fields_.file(), ": ", fields_.full("attention.sliding_window"),
           ": a window shorter than the context (", config_.max_context,
           ") is not supported, found ", *window);
    }
  }

  void check_head_dims() {
    if (const auto width = fields_.find_integer("attention.value_length", kHeadDimRange);
        width && *width != config_.head_dim) {
      fail(ErrorCode::Unsupported, fields_.file(), ": ", fields_.full("attention.value_length"),
           ": only the length of keys (", config_.head_dim, ") is supported, found ", *width);
    }
    if (const auto width = fields_.find_integer("rope.dimension_count", kHeadDimRange);
        width && *width != config_.head_dim) {
      fail(ErrorCode::Unsupported, fields_.file(), ": ", fields_.full("rope.dimension_count"),
           ": only whole heads (", config_.head_dim, ") are supported, found ", *width);
    }
  }

  // Converters reorder the rows of query and key so that neighbours rotate together.
  RopeConfig read_rope() {
    RopeConfig rope;
    rope.pairs = RopePairs::Neighbours;
    const auto base = fields_.find_number("rope.freq_base", kRopeBaseRange);
    if (!base) {
      parsed_.assumed.push_back(fields_.full("rope.freq_base") + " = " + to_text(kLlamaRopeBase));
    }
    rope.base = base.value_or(kLlamaRopeBase);
    // As llama.cpp reads them: no type is "linear", and a factor of 0 is none.
    const std::string type_key = fields_.full("rope.scaling.type");
    const std::string type =
        fields_.header().find_string(type_key, fields_.file()).value_or("linear");
    const auto old_factor = fields_.find_number("rope.scale_linear", kScaleRange);
    const auto factor = fields_.find_number("rope.scaling.factor", kScaleRange);
    if (type == "linear") {
      const double given = factor ? *factor : old_factor.value_or(0);
      rope.linear_factor = given == 0 ? 1 : given;
    } else if (type != "none") {
      fail(ErrorCode::Unsupported, fields_.file(), ": ", type_key,
           ": expected none or linear, found ", formats::quote(type));
    }
    return rope;
  }

  GgufFields fields_;
  ModelConfig config_;
  ParsedConfig parsed_;
};

}  // namespace

ParsedConfig read_llama_gguf(const formats::GgufHeader& header, const std::string& file) {
  return LlamaGgufReader(header, file).read();
}

}  // namespace fathom::config
