#include "fathom/model/config/llama_facts.h"

#include <limits>

namespace fathom::config {
namespace {

using M = ModelConfig;

// Keys and values are kept for every token, so these are lower than what config_facts.h allows: no
// size of a cache may leave 63 bits.
constexpr IntegerRange kContextRange{1, Index{1} << 26};
constexpr IntegerRange kSharedHeadsRange{1, Index{1} << 10};
constexpr IntegerRange kGroupedHeadDimRange{2, Index{1} << 12};

std::string_view name(Index M::*member, Dialect dialect) {
  return name_of(Family::Llama, member, dialect);
}

}  // namespace

const std::vector<IntegerFact>& llama_integers() {
  static const std::vector<IntegerFact> kFacts = {
      {&M::vocab_size, {"vocab_size", "", "vocab_size"}, kVocabRange, {}},
      {&M::hidden_size, {"hidden_size", "", "embedding_length"}, kWidthRange, {}},
      {&M::max_context, {"max_position_embeddings", "", "context_length"}, kContextRange, {}},
      {&M::num_heads, {"num_attention_heads", "", "attention.head_count"}, kHeadsRange, {}},
      {&M::num_key_value_heads,
       {"num_key_value_heads", "", "attention.head_count_kv"},
       kSharedHeadsRange,
       {}},
      {&M::head_dim, {"head_dim", "", "attention.key_length"}, kGroupedHeadDimRange, {}},
      {&M::mlp_hidden, {"intermediate_size", "", "feed_forward_length"}, kWidthRange, {}},
      {&M::bos_token, {"bos_token_id", "", "tokenizer.ggml.bos_token_id"}, kTokenRange, {}},
      {&M::eos_token, {"eos_token_id", "", "tokenizer.ggml.eos_token_id"}, kTokenRange, {}},
  };
  return kFacts;
}

const std::vector<NumberFact>& llama_numbers() {
  static const std::vector<NumberFact> kFacts = {
      {&M::norm_epsilon,
       {"rms_norm_eps", "", "attention.layer_norm_rms_epsilon"},
       kEpsilonRange,
       {}},
  };
  return kFacts;
}

void set_llama_layers(ModelConfig& config, Index num_layers, const RopeConfig& rope) {
  constexpr double kNoLimit = std::numeric_limits<double>::infinity();
  config.rope_dim = config.head_dim;
  config.layers.assign(to_size(num_layers), {.attention = AttentionKind::Grouped,
                                             .router = RouterKind::None,
                                             .compress_ratio = 0,
                                             .rope = rope,
                                             .swiglu_limit = kNoLimit,
                                             .shared_swiglu_limit = kNoLimit});
}

void check_llama(const ModelConfig& config, Dialect dialect, const std::string& file) {
  if (config.num_heads % config.num_key_value_heads != 0) {
    fail(ErrorCode::InvalidCheckpoint, file, ": ", name(&M::num_key_value_heads, dialect),
         ": expected a divisor of ", name(&M::num_heads, dialect), " (", config.num_heads,
         "), found ", config.num_key_value_heads);
  }
  if (config.head_dim % 2 != 0) {
    fail(ErrorCode::InvalidCheckpoint, file, ": ", name(&M::head_dim, dialect),
         ": expected an even number, found ", config.head_dim);
  }
  check_tokens(config, dialect, file);
}

Index default_head_dim(const ModelConfig& config, Dialect dialect, const std::string& file) {
  const Index head_dim = config.hidden_size / config.num_heads;
  if (head_dim < 2 || config.hidden_size % config.num_heads != 0) {
    fail(ErrorCode::InvalidCheckpoint, file, ": ", name(&M::num_heads, dialect),
         ": expected a divisor of ", name(&M::hidden_size, dialect), " (", config.hidden_size,
         ") where there is no ", name(&M::head_dim, dialect), ", found ", config.num_heads);
  }
  return head_dim;
}

}  // namespace fathom::config
