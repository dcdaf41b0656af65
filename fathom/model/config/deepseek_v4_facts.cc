#include "fathom/model/config/deepseek_v4_facts.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "fathom/compute/numeric/int16_rows.h"

namespace fathom::config {
namespace {

constexpr Index kMaxRank = Index{1} << 16;

struct RatioRow {
  Index ratio;
  AttentionKind kind;
};

constexpr auto kRatios = std::to_array<RatioRow>({
    {0, AttentionKind::SlidingWindow},
    {4, AttentionKind::CompressedSparse},
    {128, AttentionKind::HeavilyCompressed},
});

}  // namespace

const std::vector<IntegerFact>& deepseek_v4_integers() {
  using M = ModelConfig;
  static const std::vector<IntegerFact> kFacts = {
      {&M::vocab_size, {"vocab_size", "vocab_size", "vocab_size"}, kVocabRange, {}},
      {&M::hidden_size, {"hidden_size", "dim", "embedding_length"}, kWidthRange, {}},
      {&M::max_context,
       {"max_position_embeddings", "max_seq_len", "context_length"},
       kTokensRange,
       1048576},
      {&M::num_heads, {"num_attention_heads", "n_heads", "attention.head_count"}, kHeadsRange, {}},
      {&M::head_dim, {"head_dim", "head_dim", "attention.key_length"}, kHeadDimRange, {}},
      {&M::rope_dim,
       {"qk_rope_head_dim", "rope_head_dim", "rope.dimension_count"},
       {2, kHeadDimRange.maximum},
       {}},
      {&M::query_rank, {"q_lora_rank", "q_lora_rank", "attention.q_lora_rank"}, {1, kMaxRank}, {}},
      {&M::window,
       {"sliding_window", "window_size", "attention.sliding_window"},
       {1, Index{1} << 24},
       {}},
      {&M::num_output_groups,
       {"o_groups", "o_groups", "attention.output_group_count"},
       kHeadsRange,
       {}},
      {&M::output_rank,
       {"o_lora_rank", "o_lora_rank", "attention.output_lora_rank"},
       {1, kMaxRank},
       {}},
      {&M::num_index_heads,
       {"index_n_heads", "index_n_heads", "attention.indexer.head_count"},
       kHeadsRange,
       {}},
      {&M::index_head_dim,
       {"index_head_dim", "index_head_dim", "attention.indexer.key_length"},
       kHeadDimRange,
       {}},
      {&M::index_top_k, {"index_topk", "index_topk", "attention.indexer.top_k"}, kTokensRange, {}},
      {&M::num_experts, {"n_routed_experts", "n_routed_experts", "expert_count"}, kHeadsRange, {}},
      {&M::num_shared_experts,
       {"n_shared_experts", "n_shared_experts", "expert_shared_count"},
       {1, 64},
       {}},
      {&M::num_experts_per_token,
       {"num_experts_per_tok", "n_activated_experts", "expert_used_count"},
       kHeadsRange,
       {}},
      {&M::expert_hidden,
       {"moe_intermediate_size", "moe_inter_dim", "expert_feed_forward_length"},
       kWidthRange,
       {}},
      {&M::num_hash_layers,
       {"num_hash_layers", "n_hash_layers", "hash_layer_count"},
       {0, kLayerCountRange.maximum},
       {}},
      {&M::num_streams, {"hc_mult", "hc_mult", "hyper_connection.count"}, {1, kMaxStreams}, {}},
      {&M::sinkhorn_iterations,
       {"hc_sinkhorn_iters", "hc_sinkhorn_iters", "hyper_connection.sinkhorn_iterations"},
       {1, 10000},
       {}},
      {&M::bos_token,
       {"bos_token_id", "bos_token_id", "tokenizer.ggml.bos_token_id"},
       kTokenRange,
       0},
      {&M::eos_token,
       {"eos_token_id", "eos_token_id", "tokenizer.ggml.eos_token_id"},
       kTokenRange,
       1},
  };
  return kFacts;
}

const std::vector<NumberFact>& deepseek_v4_numbers() {
  using M = ModelConfig;
  static const std::vector<NumberFact> kFacts = {
      {&M::route_scale,
       {"routed_scaling_factor", "route_scale", "expert_weights_scale"},
       {1e-6, 1e6},
       {}},
      {&M::hyper_epsilon, {"hc_eps", "hc_eps", "hyper_connection.epsilon"}, {0, 1}, 1e-6},
      {&M::norm_epsilon,
       {"rms_norm_eps", "norm_eps", "attention.layer_norm_rms_epsilon"},
       kEpsilonRange,
       1e-6},
  };
  return kFacts;
}

std::vector<RouterKind> leading_hash_routers(Index num_hash_layers, Index num_layers) {
  std::vector<RouterKind> routers(to_size(num_layers), RouterKind::TopK);
  std::fill_n(routers.begin(), std::min(num_hash_layers, num_layers), RouterKind::HashTable);
  return routers;
}

void check_mtp_count(Index num_mtp, std::string_view key, const std::string& file) {
  if (num_mtp > 1) {
    fail(ErrorCode::Unsupported, file, ": ", key, ": ", num_mtp,
         " MTP blocks (the DSpark drafter) are not supported, expected 0 or 1");
  }
}

void set_layers(ModelConfig& config,
                const Schedule& schedule,
                const ScheduleKeys& keys,
                const std::string& file) {
  const Index num_layers = to_index(schedule.routers.size());
  const Index num_ratios = to_index(schedule.ratios.size());
  check_mtp_count(schedule.num_mtp, keys.num_mtp, file);
  // Files keep the entry of an MTP block that they do not have.
  if (num_ratios != num_layers + 1 && (num_ratios != num_layers || schedule.num_mtp > 0)) {
    fail(ErrorCode::InvalidCheckpoint, file, ": ", keys.ratios, ": expected ",
         num_layers + schedule.num_mtp, " entries (", keys.num_layers, " ", num_layers, ", ",
         keys.num_mtp, " ", schedule.num_mtp, "), found ", num_ratios);
  }
  const auto limit = [](const std::vector<double>& limits, Index idx) {
    const double value = limits[to_size(idx)];
    return value == 0 ? std::numeric_limits<double>::infinity() : value;
  };
  config.layers.clear();
  config.mtp_layers.clear();
  for (Index idx = 0; idx < num_ratios; ++idx) {
    const Index ratio = schedule.ratios[to_size(idx)];
    const auto* const row =
        std::find_if(kRatios.begin(), kRatios.end(),
                     [ratio](const RatioRow& entry) { return entry.ratio == ratio; });
    if (row == kRatios.end()) {
      fail(ErrorCode::InvalidCheckpoint, file, ": ", keys.ratios, "[", idx,
           "]: expected 0, 4 or 128, found ", ratio);
    }
    const bool is_mtp = idx >= num_layers;
    if (is_mtp && schedule.num_mtp == 0) {
      break;
    }
    if (is_mtp && ratio != 0) {
      fail(ErrorCode::Unsupported, file, ": ", keys.ratios, "[", idx, "]: an MTP block with ratio ",
           ratio, " is not supported, expected 0");
    }
    LayerConfig layer;
    layer.attention = row->kind;
    layer.router = is_mtp ? RouterKind::TopK : schedule.routers[to_size(idx)];
    layer.compress_ratio = ratio;
    layer.rope = ratio == 0 ? schedule.plain_rope : schedule.compressed_rope;
    layer.swiglu_limit = limit(schedule.swiglu_limits, idx);
    layer.shared_swiglu_limit = limit(schedule.shared_swiglu_limits, idx);
    (is_mtp ? config.mtp_layers : config.layers).push_back(layer);
  }
}

void check_contradictions(const ModelConfig& config, Dialect dialect, const std::string& file) {
  using M = ModelConfig;
  const auto name = [dialect](Index M::*member) {
    return name_of(Family::DeepseekV4, member, dialect);
  };
  const auto require_at_most = [&](Index M::*small, Index M::*large) {
    if (config.*small > config.*large) {
      fail(ErrorCode::InvalidCheckpoint, file, ": ", name(small), ": expected at most ",
           name(large), " (", config.*large, "), found ", config.*small);
    }
  };
  require_at_most(&M::rope_dim, &M::head_dim);
  require_at_most(&M::rope_dim, &M::index_head_dim);
  require_at_most(&M::num_experts_per_token, &M::num_experts);
  if (config.rope_dim % 2 != 0) {
    fail(ErrorCode::InvalidCheckpoint, file, ": ", name(&M::rope_dim),
         ": expected an even number, found ", config.rope_dim);
  }
  const Index query_dim = config.num_heads * config.head_dim;
  if (query_dim % config.num_output_groups != 0) {
    fail(ErrorCode::InvalidCheckpoint, file, ": ", name(&M::num_output_groups),
         ": expected a divisor of ", name(&M::num_heads), " x ", name(&M::head_dim), " (",
         query_dim, "), found ", config.num_output_groups);
  }
  check_tokens(config, dialect, file);
  if (config.num_hash_layers > config.num_layers()) {
    fail(ErrorCode::InvalidCheckpoint, file, ": ", name(&M::num_hash_layers),
         ": expected at most the number of layers (", config.num_layers(), "), found ",
         config.num_hash_layers);
  }
  if (!std::has_single_bit(to_size(config.index_head_dim)) ||
      config.index_head_dim > numeric::kMostInt16RowNumbers) {
    fail(ErrorCode::Unsupported, file, ": ", name(&M::index_head_dim),
         ": only powers of two up to ", numeric::kMostInt16RowNumbers,
         " are supported (Hadamard rotation, keys of 16-bit codes), found ", config.index_head_dim);
  }
}

}  // namespace fathom::config
