#include "fathom/model/config/weight_table.h"

#include <array>

#include "fathom/base/core/error.h"

namespace fathom::config {
namespace {

struct RoleName {
  WeightRole role;
  std::string_view name;
};

constexpr auto kRoleNames = std::to_array<RoleName>({
    {WeightRole::Embedding, "embedding"},
    {WeightRole::FinalNorm, "final_norm"},
    {WeightRole::Head, "head"},
    {WeightRole::HeadMixFn, "head_mix_fn"},
    {WeightRole::HeadMixBase, "head_mix_base"},
    {WeightRole::HeadMixScale, "head_mix_scale"},
    {WeightRole::RopeDivisors, "rope_divisors"},
    {WeightRole::MtpEmbeddingProjection, "mtp_embedding_projection"},
    {WeightRole::MtpHiddenProjection, "mtp_hidden_projection"},
    {WeightRole::MtpEmbeddingNorm, "mtp_embedding_norm"},
    {WeightRole::MtpHiddenNorm, "mtp_hidden_norm"},
    {WeightRole::AttentionMixFn, "attention_mix_fn"},
    {WeightRole::AttentionMixBase, "attention_mix_base"},
    {WeightRole::AttentionMixScale, "attention_mix_scale"},
    {WeightRole::ExpertMixFn, "expert_mix_fn"},
    {WeightRole::ExpertMixBase, "expert_mix_base"},
    {WeightRole::ExpertMixScale, "expert_mix_scale"},
    {WeightRole::AttentionNorm, "attention_norm"},
    {WeightRole::FeedForwardNorm, "feed_forward_norm"},
    {WeightRole::QueryDown, "query_down"},
    {WeightRole::QueryNorm, "query_norm"},
    {WeightRole::QueryUp, "query_up"},
    {WeightRole::KeyValue, "key_value"},
    {WeightRole::KeyValueNorm, "key_value_norm"},
    {WeightRole::OutputDown, "output_down"},
    {WeightRole::OutputUp, "output_up"},
    {WeightRole::Sink, "sink"},
    {WeightRole::Query, "query"},
    {WeightRole::Key, "key"},
    {WeightRole::Value, "value"},
    {WeightRole::Output, "output"},
    {WeightRole::CompressorValue, "compressor_value"},
    {WeightRole::CompressorGate, "compressor_gate"},
    {WeightRole::CompressorPositionBias, "compressor_position_bias"},
    {WeightRole::CompressorNorm, "compressor_norm"},
    {WeightRole::IndexerQueryUp, "indexer_query_up"},
    {WeightRole::IndexerHeadWeights, "indexer_head_weights"},
    {WeightRole::IndexerValue, "indexer_value"},
    {WeightRole::IndexerGate, "indexer_gate"},
    {WeightRole::IndexerPositionBias, "indexer_position_bias"},
    {WeightRole::IndexerNorm, "indexer_norm"},
    {WeightRole::RouterWeight, "router_weight"},
    {WeightRole::RouterBias, "router_bias"},
    {WeightRole::RouterTable, "router_table"},
    {WeightRole::ExpertGate, "expert_gate"},
    {WeightRole::ExpertUp, "expert_up"},
    {WeightRole::ExpertDown, "expert_down"},
    {WeightRole::SharedGate, "shared_gate"},
    {WeightRole::SharedUp, "shared_up"},
    {WeightRole::SharedDown, "shared_down"},
    {WeightRole::MlpGate, "mlp_gate"},
    {WeightRole::MlpUp, "mlp_up"},
    {WeightRole::MlpDown, "mlp_down"},
});

// One call per tensor, in the order of specification 2.1. The sharding axis is the one along which
// ranks can hold parts of the tensor without talking before the matrix product: rows where the
// output is per head, group, expert or token, columns where the input is.
class TableBuilder {
 public:
  explicit TableBuilder(const ModelConfig& config) : config_(config) {}

  void begin_block(Block block, Index layer_idx) {
    block_ = block;
    layer_idx_ = layer_idx;
  }

  void add(WeightRole role,
           std::vector<Index> shape,
           StorageClass storage,
           ShardAxis shard_axis = ShardAxis::None) {
    WeightSpec spec;
    spec.key = {.role = role, .block = block_, .layer_idx = layer_idx_};
    spec.shape = std::move(shape);
    spec.storage = storage;
    spec.shard_axis = shard_axis;
    specs_.push_back(std::move(spec));
  }

  void add_model() {
    const Index hidden = config_.hidden_size;
    begin_block(Block::Model, -1);
    add(WeightRole::Embedding, {config_.vocab_size, hidden}, StorageClass::Plain, ShardAxis::Rows);
    add(WeightRole::FinalNorm, {hidden}, StorageClass::Plain);
    if (!config_.is_head_tied) {
      add(WeightRole::Head, {config_.vocab_size, hidden}, StorageClass::Plain, ShardAxis::Rows);
    }
    if (config_.has_rope_divisors) {
      add(WeightRole::RopeDivisors, {config_.rope_dim / 2}, StorageClass::Float32);
      specs_.back().is_trainable = false;
    }
    add_head_mix();
  }

  void add_layer(const LayerConfig& layer) {
    const Index hidden = config_.hidden_size;
    add_mix(WeightRole::AttentionMixFn, WeightRole::AttentionMixBase,
            WeightRole::AttentionMixScale);
    add_mix(WeightRole::ExpertMixFn, WeightRole::ExpertMixBase, WeightRole::ExpertMixScale);
    add(WeightRole::AttentionNorm, {hidden}, StorageClass::Plain);
    add(WeightRole::FeedForwardNorm, {hidden}, StorageClass::Plain);
    if (layer.attention == AttentionKind::Grouped) {
      add_grouped_attention();
    } else {
      add_compressed_attention(layer);
    }
    if (layer.router == RouterKind::None) {
      add_mlp();
    } else {
      add_router(layer);
      add_experts();
    }
  }

  void add_mtp(const LayerConfig& layer) {
    const Index hidden = config_.hidden_size;
    add_layer(layer);
    add(WeightRole::MtpEmbeddingProjection, {hidden, hidden}, StorageClass::Dense);
    add(WeightRole::MtpHiddenProjection, {hidden, hidden}, StorageClass::Dense);
    add(WeightRole::MtpEmbeddingNorm, {hidden}, StorageClass::Bf16);
    add(WeightRole::MtpHiddenNorm, {hidden}, StorageClass::Bf16);
    add(WeightRole::FinalNorm, {hidden}, StorageClass::Bf16);
    add_head_mix();
  }

  std::vector<WeightSpec> take() { return std::move(specs_); }

 private:
  void add_head_mix() {
    if (config_.num_streams == 0) {
      return;
    }
    const Index streams = config_.num_streams;
    add(WeightRole::HeadMixFn, {streams, streams * config_.hidden_size}, StorageClass::Float32);
    add(WeightRole::HeadMixBase, {streams}, StorageClass::Float32);
    add(WeightRole::HeadMixScale, {1}, StorageClass::Float32);
  }

  void add_mix(WeightRole fn, WeightRole base, WeightRole scale) {
    if (config_.num_streams == 0) {
      return;
    }
    const Index mixes = config_.num_mixes();
    add(fn, {mixes, config_.num_streams * config_.hidden_size}, StorageClass::Float32);
    add(base, {mixes}, StorageClass::Float32);
    add(scale, {3}, StorageClass::Float32);  // of pre, post and the mixing matrix
  }

  void add_grouped_attention() {
    const Index hidden = config_.hidden_size;
    const Index query_dim = config_.num_heads * config_.head_dim;
    const Index key_dim = config_.num_key_value_heads * config_.head_dim;
    add(WeightRole::Query, {query_dim, hidden}, StorageClass::Dense, ShardAxis::Rows);
    add(WeightRole::Key, {key_dim, hidden}, StorageClass::Dense, ShardAxis::Rows);
    add(WeightRole::Value, {key_dim, hidden}, StorageClass::Dense, ShardAxis::Rows);
    add(WeightRole::Output, {hidden, query_dim}, StorageClass::Dense, ShardAxis::Columns);
  }

  void add_mlp() {
    const Index hidden = config_.hidden_size;
    add(WeightRole::MlpGate, {config_.mlp_hidden, hidden}, StorageClass::Dense, ShardAxis::Rows);
    add(WeightRole::MlpUp, {config_.mlp_hidden, hidden}, StorageClass::Dense, ShardAxis::Rows);
    add(WeightRole::MlpDown, {hidden, config_.mlp_hidden}, StorageClass::Dense, ShardAxis::Columns);
  }

  void add_compressed_attention(const LayerConfig& layer) {
    add_window_attention();
    if (layer.attention != AttentionKind::SlidingWindow) {
      add_compressor(layer);
    }
    if (layer.attention == AttentionKind::CompressedSparse) {
      add_indexer(layer);
    }
  }

  void add_window_attention() {
    const Index hidden = config_.hidden_size;
    const Index head_dim = config_.head_dim;
    const Index rank = config_.query_rank;
    const Index output_rows = config_.num_output_groups * config_.output_rank;
    add(WeightRole::QueryDown, {rank, hidden}, StorageClass::Dense);
    add(WeightRole::QueryNorm, {rank}, StorageClass::Plain);
    add(WeightRole::QueryUp, {config_.num_heads * head_dim, rank}, StorageClass::Dense,
        ShardAxis::Rows);
    add(WeightRole::KeyValue, {head_dim, hidden}, StorageClass::Dense);
    add(WeightRole::KeyValueNorm, {head_dim}, StorageClass::Bf16);
    add(WeightRole::OutputDown, {output_rows, config_.group_input_dim()}, StorageClass::Dense,
        ShardAxis::Rows);
    add(WeightRole::OutputUp, {hidden, output_rows}, StorageClass::Dense, ShardAxis::Columns);
    add(WeightRole::Sink, {config_.num_heads}, StorageClass::Float32, ShardAxis::Rows);
  }

  void add_compressor(const LayerConfig& layer) {
    const Index hidden = config_.hidden_size;
    const Index width = ModelConfig::compressor_width(layer.attention, config_.head_dim);
    add(WeightRole::CompressorValue, {width, hidden}, StorageClass::Bf16);
    add(WeightRole::CompressorGate, {width, hidden}, StorageClass::Bf16);
    add(WeightRole::CompressorPositionBias, {layer.compress_ratio, width}, StorageClass::Float32);
    add(WeightRole::CompressorNorm, {config_.head_dim}, StorageClass::Bf16);
  }

  void add_indexer(const LayerConfig& layer) {
    const Index hidden = config_.hidden_size;
    const Index head_dim = config_.index_head_dim;
    const Index width = ModelConfig::compressor_width(layer.attention, head_dim);
    add(WeightRole::IndexerQueryUp, {config_.num_index_heads * head_dim, config_.query_rank},
        StorageClass::Dense, ShardAxis::Rows);
    add(WeightRole::IndexerHeadWeights, {config_.num_index_heads, hidden}, StorageClass::Bf16,
        ShardAxis::Rows);
    add(WeightRole::IndexerValue, {width, hidden}, StorageClass::Bf16);
    add(WeightRole::IndexerGate, {width, hidden}, StorageClass::Bf16);
    add(WeightRole::IndexerPositionBias, {layer.compress_ratio, width}, StorageClass::Float32);
    add(WeightRole::IndexerNorm, {head_dim}, StorageClass::Bf16);
  }

  void add_router(const LayerConfig& layer) {
    add(WeightRole::RouterWeight, {config_.num_experts, config_.hidden_size}, StorageClass::Bf16);
    if (layer.router == RouterKind::HashTable) {
      add(WeightRole::RouterTable, {config_.vocab_size, config_.num_experts_per_token},
          StorageClass::TokenIds);
    } else {
      add(WeightRole::RouterBias, {config_.num_experts}, StorageClass::Float32);
    }
    // Neither has a gradient: the bias follows the load of the experts, the table is fixed.
    specs_.back().is_trainable = false;
  }

  void add_expert_matrix(WeightRole role, std::vector<Index> shape) {
    add(role, std::move(shape), StorageClass::Expert, ShardAxis::Experts);
    specs_.back().num_experts = config_.num_experts;
  }

  void add_experts() {
    const Index hidden = config_.hidden_size;
    const Index inner = config_.expert_hidden;
    add_expert_matrix(WeightRole::ExpertGate, {inner, hidden});
    add_expert_matrix(WeightRole::ExpertUp, {inner, hidden});
    add_expert_matrix(WeightRole::ExpertDown, {hidden, inner});
    // Several shared experts are one wider one: their hidden units are summed by the same product.
    const Index shared = inner * config_.num_shared_experts;
    if (shared > 0) {
      add(WeightRole::SharedGate, {shared, hidden}, StorageClass::Dense, ShardAxis::Rows);
      add(WeightRole::SharedUp, {shared, hidden}, StorageClass::Dense, ShardAxis::Rows);
      add(WeightRole::SharedDown, {hidden, shared}, StorageClass::Dense, ShardAxis::Columns);
    }
  }

  const ModelConfig& config_;
  Block block_ = Block::Model;
  Index layer_idx_ = -1;
  std::vector<WeightSpec> specs_;
};

}  // namespace

std::string_view to_string(WeightRole role) {
  for (const RoleName& entry : kRoleNames) {
    if (entry.role == role) {
      return entry.name;
    }
  }
  fail(ErrorCode::Internal, "weight role ", static_cast<int>(role), " has no name");
}

Index WeightSpec::num_elements() const {
  Index count = num_experts > 0 ? num_experts : 1;
  for (const Index extent : shape) {
    count *= extent;
  }
  return count;
}

std::vector<WeightSpec> weight_table(const ModelConfig& config) {
  TableBuilder table(config);
  table.add_model();
  for (Index layer_idx = 0; layer_idx < config.num_layers(); ++layer_idx) {
    table.begin_block(Block::Layer, layer_idx);
    table.add_layer(config.layers[to_size(layer_idx)]);
  }
  for (Index mtp_idx = 0; mtp_idx < to_index(config.mtp_layers.size()); ++mtp_idx) {
    table.begin_block(Block::Mtp, mtp_idx);
    table.add_mtp(config.mtp_layers[to_size(mtp_idx)]);
  }
  return table.take();
}

bool is_multiplied(const ModelConfig& config, const WeightSpec& spec) {
  switch (spec.key.role) {
    case WeightRole::Embedding:
      return config.is_head_tied;
    case WeightRole::CompressorPositionBias:
    case WeightRole::IndexerPositionBias:
    case WeightRole::RouterTable:
      return false;
    default:
      return spec.shape.size() > 1 && spec.key.block != Block::Mtp;
  }
}

}  // namespace fathom::config
