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

enum class Family { DeepseekV4, Llama };
std::string_view to_string(Family family);

// What a query of the layer may see. The first three have one row per token that is key and value
// at once, a window of them, and besides (architecture specification 3.3.3):
enum class AttentionKind {
  SlidingWindow,      // nothing
  CompressedSparse,   // CSA: the indexer's choice among blocks of 4 tokens
  HeavilyCompressed,  // HCA: every block of 128 tokens
  Grouped,            // keys and values of all tokens before; query heads share them in groups
};
std::string_view to_string(AttentionKind kind);

// How a layer chooses experts.
enum class RouterKind {
  HashTable,
  TopK,
  None,  // there is nothing to choose: one dense MLP
};
std::string_view to_string(RouterKind kind);

// Which numbers of a head rotate together. A fact of the file, not of the model: converters reorder
// the rows of query and key.
enum class RopePairs {
  Neighbours,  // 2i and 2i + 1
  Halves,      // i and i + R / 2
};

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
  // Divides low frequencies by the factor, keeps high ones, blends between.
  struct Llama3 {
    double factor;
    double low_frequency_factor;
    double high_frequency_factor;
    Index original_context;
    friend bool operator==(const Llama3&, const Llama3&) = default;
  };
  std::optional<Llama3> llama3 = {};
  double linear_factor = 1;  // divides every frequency
  RopePairs pairs = RopePairs::Neighbours;
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

// The facts of each mechanism a model may have, all 0 where it does not. A family's table of facts
// (config_facts.h) says which ones its configs must give.

// Attention over windows and compressed rows with low-rank projections.
struct CompressedAttentionFacts {
  Index query_rank = 0;         // of the query's low-rank projection
  Index window = 0;             // W
  Index num_output_groups = 0;  // G
  Index output_rank = 0;        // per group
  Index num_index_heads = 0;
  Index index_head_dim = 0;
  Index index_top_k = 0;
  friend bool operator==(const CompressedAttentionFacts&,
                         const CompressedAttentionFacts&) = default;
};

// Attention of query heads in groups that share a head of keys and values.
struct GroupedAttentionFacts {
  Index num_key_value_heads = 0;
  // The files carry a divisor for every frequency of the rotation.
  bool has_rope_divisors = false;
  friend bool operator==(const GroupedAttentionFacts&, const GroupedAttentionFacts&) = default;
};

struct ExpertFacts {
  Index num_experts = 0;  // E
  Index num_shared_experts = 0;
  Index num_experts_per_token = 0;  // K
  Index expert_hidden = 0;          // I
  Index num_hash_layers = 0;
  double route_scale = 0;
  friend bool operator==(const ExpertFacts&, const ExpertFacts&) = default;
};

struct DenseMlpFacts {
  Index mlp_hidden = 0;  // I
  friend bool operator==(const DenseMlpFacts&, const DenseMlpFacts&) = default;
};

struct HyperConnectionFacts {
  Index num_streams = 0;  // N
  Index sinkhorn_iterations = 0;
  double hyper_epsilon = 0;
  friend bool operator==(const HyperConnectionFacts&, const HyperConnectionFacts&) = default;
};

struct ModelConfig : CompressedAttentionFacts,
                     GroupedAttentionFacts,
                     ExpertFacts,
                     DenseMlpFacts,
                     HyperConnectionFacts {
  static constexpr Index kNoToken = -1;

  Family family = Family::DeepseekV4;
  Index vocab_size = 0;   // V
  Index hidden_size = 0;  // D
  Index max_context = 0;  // tokens
  Index num_heads = 0;    // H
  Index head_dim = 0;     // C
  Index rope_dim = 0;     // R, the last of C
  double norm_epsilon = 0;
  bool is_head_tied = false;  // the embedding is the head as well
  Index bos_token = 0;        // or kNoToken
  Index eos_token = 0;        // or kNoToken
  // Where a config lists several end tokens: those after the first.
  std::vector<Index> more_eos_tokens;

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
