// The facts of a model: everything that its config says about shapes and arithmetic.
//
// Parsed once, validated, immutable afterwards. Missing keys are fatal; there are no silent
// defaults, because the official dataclass defaults are traps (architecture specification 1.1).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/compute/numeric/weight_format.h"

namespace fathom::config {

enum class Family { DeepseekV4 };
std::string_view to_string(Family family);

// What a query of the layer may see besides its window (architecture specification 3.3.3).
enum class AttentionKind {
  SlidingWindow,      // nothing
  CompressedSparse,   // CSA: the indexer's choice among blocks of 4 tokens
  HeavilyCompressed,  // HCA: every block of 128 tokens
};
std::string_view to_string(AttentionKind kind);

enum class RouterKind { HashTable, TopK };
std::string_view to_string(RouterKind kind);

// Rotary embedding of one kind of layer. YaRN applies when factor and original context are set.
struct RopeConfig {
  double base = 0;
  struct Yarn {
    double factor;
    Index original_context;
    double beta_fast;
    double beta_slow;
    friend bool operator==(const Yarn&, const Yarn&) = default;
  };
  std::optional<Yarn> yarn;
  friend bool operator==(const RopeConfig&, const RopeConfig&) = default;
};

struct LayerConfig {
  AttentionKind attention = AttentionKind::SlidingWindow;
  RouterKind router = RouterKind::TopK;
  Index compress_ratio = 0;  // tokens per compressed row: 0, 4 or 128
  RopeConfig rope;           // of everything in the layer
  // Clamps of the gate (above) and up (both sides): infinity where the config says 0, for none.
  double swiglu_limit = 0;         // of routed experts
  double shared_swiglu_limit = 0;  // of the shared expert
  friend bool operator==(const LayerConfig&, const LayerConfig&) = default;
};

// Storage a config promises. The files' headers decide what is loaded; this serves `plan`, `synth`
// and `inspect` of a config alone.
struct StoragePlan {
  numeric::WeightFormat experts;
  numeric::WeightFormat dense;  // the linears that are FP8 in official checkpoints
  // Of every FP8 matrix, experts included: E8M0, or F32 in -Base; None without FP8.
  numeric::ScaleFormat dense_scale;
  friend bool operator==(const StoragePlan&, const StoragePlan&) = default;
};

struct ModelConfig {
  Family family = Family::DeepseekV4;
  Index vocab_size = 0;         // V
  Index hidden_size = 0;        // D
  Index max_context = 0;        // tokens
  Index num_heads = 0;          // H
  Index head_dim = 0;           // C
  Index rope_dim = 0;           // R, the last of C
  Index query_rank = 0;         // of the query's low-rank projection
  Index window = 0;             // W
  Index num_output_groups = 0;  // G
  Index output_rank = 0;        // per group
  Index num_index_heads = 0;
  Index index_head_dim = 0;
  Index index_top_k = 0;
  Index num_experts = 0;  // E
  Index num_shared_experts = 0;
  Index num_experts_per_token = 0;  // K
  Index expert_hidden = 0;          // I
  Index num_hash_layers = 0;
  double route_scale = 0;
  Index num_streams = 0;  // N
  Index sinkhorn_iterations = 0;
  double hyper_epsilon = 0;
  double norm_epsilon = 0;
  Index bos_token = 0;
  Index eos_token = 0;

  std::vector<LayerConfig> layers;      // L
  std::vector<LayerConfig> mtp_layers;  // 0 or 1 block

  std::vector<std::string> unknown_keys;  // of the config, for inspect

  Index num_layers() const { return to_index(layers.size()); }
  Index group_input_dim() const { return num_heads * head_dim / num_output_groups; }
  Index num_mixes() const { return num_streams * (2 + num_streams); }
  // Columns of the compressor's value and gate: twice the row for the overlapping CSA form.
  static Index compressor_width(AttentionKind kind, Index row_width) {
    return kind == AttentionKind::CompressedSparse ? 2 * row_width : row_width;
  }
  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

}  // namespace fathom::config
