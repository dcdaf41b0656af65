// The one list of every tensor of a model: role, shape, storage, sharding axis, trainable.
//
// Loading, saving, synthetic weights, memory planning, LoRA targets and the report of missing and
// unexpected tensors are loops over it. Names in files are not here: each family maps roles to
// names in one file of its own (deepseek_v4/weight_names.cc).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/model/config/model_config.h"

namespace fathom::config {

enum class WeightRole {
  // Whole model (and, where marked, once per MTP block).
  Embedding,
  FinalNorm,  // also MTP
  Head,
  HeadMixFn,     // also MTP
  HeadMixBase,   // also MTP
  HeadMixScale,  // also MTP
  RopeDivisors,  // of the rotation's frequencies
  // MTP block only.
  MtpEmbeddingProjection,
  MtpHiddenProjection,
  MtpEmbeddingNorm,
  MtpHiddenNorm,
  // Layers, as their kinds have them.
  AttentionMixFn,
  AttentionMixBase,
  AttentionMixScale,
  ExpertMixFn,
  ExpertMixBase,
  ExpertMixScale,
  AttentionNorm,
  FeedForwardNorm,
  QueryDown,
  QueryNorm,
  QueryUp,
  KeyValue,
  KeyValueNorm,
  OutputDown,
  OutputUp,
  Sink,
  Query,
  Key,
  Value,
  Output,
  CompressorValue,
  CompressorGate,
  CompressorPositionBias,
  CompressorNorm,
  IndexerQueryUp,
  IndexerHeadWeights,
  IndexerValue,
  IndexerGate,
  IndexerPositionBias,
  IndexerNorm,
  RouterWeight,
  RouterBias,
  RouterTable,
  ExpertGate,
  ExpertUp,
  ExpertDown,
  SharedGate,
  SharedUp,
  SharedDown,
  MlpGate,
  MlpUp,
  MlpDown,
};
std::string_view to_string(WeightRole role);

enum class Block { Model, Layer, Mtp };

// Where a tensor lives. layer_idx counts within its block kind; -1 for the model itself.
struct WeightKey {
  WeightRole role;
  Block block = Block::Model;
  Index layer_idx = -1;
  friend auto operator<=>(const WeightKey&, const WeightKey&) = default;
};

// How official checkpoints store a tensor: decides its format in a StoragePlan.
enum class StorageClass {
  Expert,    // FP4, FP8 or BF16
  Dense,     // FP8 or BF16
  Plain,     // as dense where that is no quantisation, else BF16
  Bf16,      // always BF16
  Float32,   // always F32
  TokenIds,  // I64 table
};

enum class ShardAxis { None, Rows, Columns, Experts };

struct WeightSpec {
  WeightKey key;
  std::vector<Index> shape;  // of one matrix, outermost first; vectors have one dimension
  Index num_experts = 0;     // > 0: as many matrices of this shape
  StorageClass storage = StorageClass::Bf16;
  ShardAxis shard_axis = ShardAxis::None;
  bool is_trainable = true;

  Index num_elements() const;  // all experts together
};

// Whether a tensor is a matrix that activations are multiplied with, in every run: no vector, no
// look-up table, nothing of a block that only drafts.
bool is_multiplied(const ModelConfig& config, const WeightSpec& spec);

// Every tensor of the config: model, layers in order, then MTP blocks.
std::vector<WeightSpec> weight_table(const ModelConfig& config);

}  // namespace fathom::config
