#include "fathom/model/config/training_footprint.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "fathom/model/config/weight_table.h"

namespace fathom::config {
namespace {

constexpr Index kAlignment_bytes = 64;  // tensor::Arena's
constexpr Index kFp32Bytes = 4;
constexpr Index kIndexBytes = 8;
constexpr Index kIdBytes = 4;
constexpr Index kVisibleRowsBytes = 32;
// Rows of logits at a time (ops/head_blocks.h).
Index loss_rows(Index vocab_size) {
  return std::clamp((Index{4} << 20) / vocab_size, Index{128}, Index{512});
}
// What attention's way back keeps at a time (ops/sink_attention.h, ops/grouped_attention.h).
constexpr Index kScratchNumbers = Index{1} << 18;
constexpr Index kScratchTokens = 32;

// Allocations of step memory in their order, and which of them have gradients.
class Plan {
 public:
  explicit Plan(Index bytes_per_number) : bytes_per_number_(bytes_per_number) {}

  void value(Index count, bool has_gradient = true) {
    const Index first = bytes_;
    bytes(count * bytes_per_number_);
    if (has_gradient && bytes_ > first) {
      marked_.emplace_back(first, bytes_);
    }
  }
  // A copy of what is overwritten, or a table.
  void copy(Index count) { value(count, false); }
  void bytes(Index num_bytes) {
    bytes_ += ceil_div(num_bytes, kAlignment_bytes) * kAlignment_bytes;
  }
  void append(const Plan& other) {
    for (const auto& [first, end] : other.marked_) {
      marked_.emplace_back(bytes_ + first, bytes_ + end);
    }
    bytes_ += other.bytes_;
  }
  Index size() const { return bytes_; }

  // Bytes that have gradients in any of some plans that lie in the same place.
  static Index marked_bytes(const std::vector<Plan>& plans) {
    std::vector<std::pair<Index, Index>> ranges;
    for (const Plan& plan : plans) {
      ranges.insert(ranges.end(), plan.marked_.begin(), plan.marked_.end());
    }
    std::sort(ranges.begin(), ranges.end());
    Index total = 0;
    Index covered = 0;
    for (const auto& [first, end] : ranges) {
      total += std::max<Index>(0, end - std::max(first, covered));
      covered = std::max(covered, end);
    }
    return total;
  }

 private:
  Index bytes_per_number_;
  Index bytes_ = 0;
  std::vector<std::pair<Index, Index>> marked_;
};

// Everything that layers allocate, in their order.
class StepPlanner {
 public:
  StepPlanner(const ModelConfig& config, const TrainingStep& step)
      : config_(config),
        step_(step),
        tokens_(step.num_tokens),
        hidden_(tokens_ * config.hidden_size) {}

  TrainingBytes bytes() const {
    Plan base = plan();
    std::vector<Plan> layers;  // that run again, one at a time, behind everything else
    before_layers(base);
    for (const LayerConfig& layer : config_.layers) {
      add_segment(layer, base, layers);
    }
    add_readout(base);
    if (step_.has_mtp) {
      for (const LayerConfig& layer : config_.mtp_layers) {
        before_mtp(base);
        add_segment(layer, base, layers);
        add_readout(base);
      }
    }
    // Behind what is kept: logits, or a layer that runs again with what its way back needs.
    const Index rows = std::min(tokens_, loss_rows(config_.vocab_size));
    Index most = rows * config_.vocab_size * step_.bytes_per_number;
    Index layer_idx = 0;
    for (const auto* part : {&config_.layers, &config_.mtp_layers}) {
      for (const LayerConfig& layer : *part) {
        const bool runs_again = layer_idx < to_index(layers.size());
        most = std::max(most, attention_scratch_bytes(layer) +
                                  (runs_again ? layers[to_size(layer_idx)].size() : 0));
        ++layer_idx;
      }
    }
    TrainingBytes bytes;
    bytes.activations = base.size() + most;
    bytes.activation_gradients = Plan::marked_bytes({base}) + Plan::marked_bytes(layers);
    return bytes;
  }

 private:
  Index attention_scratch_bytes(const LayerConfig& layer) const {
    constexpr Index kLanes = 16;
    const auto whole = [](Index count) { return ceil_div(count, kLanes) * kLanes; };
    Index most_rows = tokens_;
    Index token_numbers = 0;
    if (layer.attention != AttentionKind::Grouped) {
      most_rows = std::min(tokens_, config_.window);
      if (layer.compress_ratio > 0) {
        const Index blocks = tokens_ / layer.compress_ratio;
        most_rows += layer.attention == AttentionKind::CompressedSparse
                         ? std::min(blocks, config_.index_top_k)
                         : blocks;
      }
      token_numbers = whole(config_.num_heads);
    }
    token_numbers += config_.num_heads * 2 * whole(most_rows);
    const Index fitting = std::max(kScratchTokens, kScratchNumbers / token_numbers);
    return std::min(fitting, tokens_) * token_numbers * step_.bytes_per_number;
  }

  Plan plan() const { return Plan(step_.bytes_per_number); }
  bool has_streams() const { return config_.num_streams > 0; }
  Index state() const { return has_streams() ? config_.num_streams * hidden_ : hidden_; }

  void before_layers(Plan& base) const {
    base.bytes(tokens_ * kIndexBytes);  // positions
    if (!has_streams()) {
      base.value(hidden_);
      base.copy(tokens_ * config_.rope_dim);
      return;
    }
    base.value(state());
    base.value(hidden_);
    add_rope_tables(base);
  }

  void add_rope_tables(Plan& plan) const {
    bool has_kind[2] = {};
    for (const auto* part : {&config_.layers, &config_.mtp_layers}) {
      for (const LayerConfig& layer : *part) {
        has_kind[layer.attention == AttentionKind::SlidingWindow ? 0 : 1] = true;
      }
    }
    for (const bool is_there : has_kind) {
      plan.copy(is_there ? tokens_ * config_.rope_dim : 0);
    }
  }

  void before_mtp(Plan& base) const {
    base.bytes(tokens_ * kIndexBytes);
    base.value(state());
    add_rope_tables(base);
    for (int part = 0; part < 3; ++part) {  // embedded, normed, projected
      base.value(hidden_);
    }
    base.value(state());  // normed
    add_rounded(hidden_, base);
    add_rounded(state(), base);
    base.value(state());  // projected
    base.copy(state());
  }

  void add_segment(const LayerConfig& layer, Plan& base, std::vector<Plan>& layers) const {
    Plan inside = plan();
    if (layer.attention == AttentionKind::Grouped) {
      add_grouped_layer(inside);
    } else {
      add_compressed_layer(layer, inside);
    }
    if (step_.recomputes_layers) {
      base.copy(state());
      layers.push_back(std::move(inside));
    } else {
      base.append(inside);
    }
  }

  void add_readout(Plan& plan) const {
    if (has_streams()) {
      plan.value(tokens_ * config_.num_streams);
      plan.value(tokens_ * config_.num_streams);
      plan.value(hidden_);
    }
    plan.value(hidden_);
    plan.value(tokens_);
  }

  // The input of a product of official numerics, rounded.
  void add_rounded(Index count, Plan& plan) const {
    plan.value(step_.is_official && step_.is_quantised ? count : 0);
  }

  void add_mix(Plan& plan) const {
    const Index streams = config_.num_streams;
    plan.value(tokens_ * config_.num_mixes());
    plan.value(tokens_ * streams);
    plan.value(tokens_ * streams);
    plan.value(tokens_ * streams * streams);
    plan.value(hidden_);  // collapsed
    plan.value(hidden_);  // normed
  }

  void add_grouped_layer(Plan& plan) const {
    const Index queries = tokens_ * config_.num_heads * config_.head_dim;
    const Index keys = tokens_ * config_.num_key_value_heads * config_.head_dim;
    plan.value(hidden_);
    plan.value(queries);  // attended
    plan.value(keys);
    plan.copy(keys);
    plan.value(keys);  // values
    plan.value(queries);
    plan.copy(queries);
    plan.bytes(tokens_ * kIndexBytes);
    plan.value(hidden_);
    plan.copy(hidden_);
    plan.value(hidden_);
    for (int part = 0; part < 2; ++part) {  // gate, up
      plan.value(tokens_ * config_.mlp_hidden);
    }
    plan.copy(tokens_ * config_.mlp_hidden);
    plan.value(hidden_);
    plan.copy(hidden_);
  }

  void add_compressed_layer(const LayerConfig& layer, Plan& plan) const {
    add_mix(plan);
    add_attention(layer, plan);
    plan.copy(state());
    add_mix(plan);
    add_experts(layer, plan);
    plan.copy(state());
  }

  void add_attention(const LayerConfig& layer, Plan& plan) const {
    const Index queries = tokens_ * config_.num_heads * config_.head_dim;
    const Index rows = tokens_ * config_.head_dim;
    plan.value(queries);                             // attended
    for (int product = 0; product < 2; ++product) {  // query down, key and value
      add_rounded(hidden_, plan);
    }
    plan.value(tokens_ * config_.query_rank);
    plan.value(tokens_ * config_.query_rank);
    plan.value(rows);
    plan.value(rows);
    plan.copy(rows);
    plan.copy(step_.is_official ? rows : 0);
    if (layer.compress_ratio > 0) {
      add_compressor(layer, config_.head_dim, step_.is_official ? 1 : 0, true, plan);
    }
    const bool has_indexer = layer.attention == AttentionKind::CompressedSparse;
    if (has_indexer) {
      plan.value(step_.teaches_indexers ? hidden_ : 0);
      add_compressor(layer, config_.index_head_dim, step_.is_official ? 2 : 0,
                     step_.teaches_indexers, plan);
    }
    add_rounded(tokens_ * config_.query_rank, plan);
    plan.value(queries);
    plan.copy(queries);
    plan.copy(queries);
    if (layer.compress_ratio > 0) {
      plan.bytes(tokens_ * kIndexBytes);
      plan.bytes(tokens_ * kIndexBytes);
    }
    if (has_indexer) {
      add_selection(layer, plan);
    }
    plan.bytes(tokens_ * kVisibleRowsBytes);
    plan.copy(queries);
    plan.value(tokens_ * config_.num_output_groups * config_.output_rank);
    add_rounded(tokens_ * config_.num_output_groups * config_.output_rank, plan);
    plan.value(hidden_);
  }

  // `num_roundings`: of a finished row, each of which keeps what it changes.
  void add_compressor(const LayerConfig& layer,
                      Index width,
                      int num_roundings,
                      bool has_gradient,
                      Plan& plan) const {
    const Index inputs = tokens_ * 2 * ModelConfig::compressor_width(layer.attention, width);
    const Index blocks = tokens_ / layer.compress_ratio;
    plan.value(inputs, has_gradient);
    plan.copy(inputs);
    plan.value(blocks * width, has_gradient);
    plan.value(blocks * width, has_gradient);
    plan.bytes(blocks * kIndexBytes);
    plan.copy(blocks * config_.rope_dim);
    for (int copy = 0; copy < 1 + num_roundings; ++copy) {
      plan.copy(blocks * width);
    }
  }

  void add_selection(const LayerConfig& layer, Plan& plan) const {
    const Index blocks = tokens_ / layer.compress_ratio;
    const bool is_taught = step_.teaches_indexers;
    plan.bytes(tokens_ * kIndexBytes);
    if (is_taught || blocks > config_.index_top_k) {
      const Index queries = tokens_ * config_.num_index_heads * config_.index_head_dim;
      plan.value(is_taught ? tokens_ * config_.query_rank : 0);
      add_rounded(tokens_ * config_.query_rank, plan);
      plan.value(queries, is_taught);
      for (int copy = 0; copy < (step_.is_official ? 3 : 1); ++copy) {
        plan.copy(queries);
      }
      plan.value(is_taught ? hidden_ : 0);
      plan.value(tokens_ * config_.num_index_heads, is_taught);
      plan.copy(tokens_ * config_.num_index_heads);
    }
    plan.bytes(tokens_ * std::clamp<Index>(blocks, 1, config_.index_top_k) * kIdBytes);
  }

  void add_experts(const LayerConfig& layer, Plan& plan) const {
    const Index routed = tokens_ * config_.num_experts_per_token;
    const bool is_shared_joined =
        config_.num_shared_experts == 1 && layer.swiglu_limit == layer.shared_swiglu_limit;
    const Index slots = routed + (is_shared_joined ? tokens_ : 0);
    plan.value(tokens_ * config_.num_experts);
    plan.bytes(routed * kIdBytes);
    plan.value(routed);
    plan.bytes(routed * kIdBytes);
    plan.bytes((config_.num_experts + 1) * kIdBytes);
    plan.bytes(routed * kIdBytes);
    plan.bytes(3 * slots * kIdBytes);
    add_rounded(hidden_, plan);
    plan.value(2 * slots * config_.expert_hidden);
    plan.value(slots);
    plan.copy(slots * config_.expert_hidden);
    add_rounded(slots * config_.expert_hidden, plan);
    plan.value(slots * config_.hidden_size);
    if (!is_shared_joined) {
      const Index shared = tokens_ * config_.num_shared_experts * config_.expert_hidden;
      plan.value(shared);
      plan.value(shared);
      plan.copy(shared);
      plan.value(hidden_);
    }
    plan.value(hidden_);
  }

  const ModelConfig& config_;
  const TrainingStep& step_;
  Index tokens_;
  Index hidden_;
};

// Whether Muon trains it (specification 6.1): matrices, but for the embedding, the head and tables.
bool has_momentum_alone(const WeightSpec& spec) {
  switch (spec.key.role) {
    case WeightRole::Embedding:
    case WeightRole::Head:
    case WeightRole::CompressorPositionBias:
    case WeightRole::IndexerPositionBias:
      return false;
    default:
      return spec.shape.size() > 1;
  }
}

}  // namespace

TrainingBytes training_bytes(const ModelConfig& config, const TrainingStep& step) {
  TrainingBytes bytes = StepPlanner(config, step).bytes();
  for (const WeightSpec& spec : weight_table(config)) {
    if (spec.storage == StorageClass::TokenIds) {
      continue;
    }
    const Index fp32 = spec.num_elements() * kFp32Bytes;
    bytes.weights += fp32;
    if (spec.is_trainable) {
      bytes.weight_gradients += fp32;
      bytes.optimizer_state += has_momentum_alone(spec) ? fp32 : 2 * fp32;
    }
  }
  return bytes;
}

}  // namespace fathom::config
