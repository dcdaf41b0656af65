// Sizes that follow from a config: parameters, bytes of weights, bytes of cache, bytes per token.
//
// The allocator, the planner, `inspect` and the tests all call these, so that none can drift from
// the others. Formulas: architecture specification 4.4 and 5.
#pragma once

#include <array>
#include <functional>
#include <span>

#include "fathom/base/core/index.h"
#include "fathom/model/config/cache_layout.h"
#include "fathom/model/config/model_config.h"
#include "fathom/model/config/weight_table.h"

namespace fathom::config {

// Whether a token reads one row of the tensor (embedding, table of ids, position bias) instead of
// multiplying with it. A tied embedding is read whole, as the head.
bool is_looked_up(const ModelConfig& config, const WeightSpec& spec);

struct ParameterCount {
  Index total = 0;   // without MTP
  Index mtp = 0;     // of the MTP blocks
  Index active = 0;  // per token: layers and head matrix (specification 5.1)
};
ParameterCount count_parameters(const ModelConfig& config);

// Bytes of a tensor as the plan stores it, with its scales.
Index stored_bytes(const WeightSpec& spec, const StoragePlan& plan);

struct WeightBytes {
  Index experts = 0;    // routed
  Index shared = 0;     // shared experts
  Index mlp = 0;        // of layers without experts
  Index attention = 0;  // with compressors and indexers
  Index router = 0;     // with tables
  Index mixing = 0;     // hyper-connections and norms
  Index embedding = 0;
  Index head = 0;
  Index mtp = 0;
  Index total() const;
};
// Its parts under the names that people and JSON see.
struct WeightPart {
  const char* name;
  Index WeightBytes::*bytes;
};
inline constexpr std::array<WeightPart, 9> kWeightParts = {{
    {"experts", &WeightBytes::experts},
    {"shared_experts", &WeightBytes::shared},
    {"mlp", &WeightBytes::mlp},
    {"attention", &WeightBytes::attention},
    {"router", &WeightBytes::router},
    {"mixing", &WeightBytes::mixing},
    {"embedding", &WeightBytes::embedding},
    {"head", &WeightBytes::head},
    {"mtp", &WeightBytes::mtp},
}};
// Bytes of one tensor of the table: as a plan stores it, or as a file really does.
using BytesOf = std::function<Index(const WeightSpec&)>;
WeightBytes weight_bytes(const ModelConfig& config, const BytesOf& bytes_of);
WeightBytes weight_bytes(const ModelConfig& config, const StoragePlan& plan);

// Weight bytes that decoding one token reads (batch 1, without MTP): every matrix once, of the
// routed experts only the chosen ones, of the embedding, the token tables and the position biases
// one row.
Index decode_weight_bytes_per_token(const ModelConfig& config, const BytesOf& bytes_of);
Index decode_weight_bytes_per_token(const ModelConfig& config, const StoragePlan& plan);

// The same for a step of one token for each of `batch` sequences, whose tokens together chose
// distinct_experts[l] of layer l's experts (a mean over steps need not be whole).
double decode_weight_bytes_per_step(const ModelConfig& config,
                                    const BytesOf& bytes_of,
                                    Index batch,
                                    std::span<const double> distinct_experts);

// Products of a weight and an activation that computing one token takes, with its logits: every
// matrix, of the routed experts the chosen ones. Attention over the cache is not among them.
Index multiply_adds_per_token(const ModelConfig& config);

// What this program's cache of the decoder layers holds for one sequence of `num_tokens`, without
// the raw rows it keeps for going back (those are a budget of the session). An MTP block adds
// mtp_cache_bytes while it drafts.
Index cache_bytes(const ModelConfig& config, Index num_tokens, const CacheNumbers& numbers);
Index mtp_cache_bytes(const ModelConfig& config, Index num_tokens, const CacheNumbers& numbers);
// What it grows by with every further token, on average.
double cache_bytes_per_token(const ModelConfig& config, const CacheNumbers& numbers);

// Bytes per raw token kept for going back without replay.
Index raw_row_bytes_per_token(const ModelConfig& config, const CacheNumbers& numbers);

// The deployment layout of the specification's table 4.4 (E4M3 + BF16 rope rows of 584 bytes for
// head_dim 512, MXFP4 index keys, fp32 compressor state; keys and values of grouped attention in
// BF16): what a packed cache would take.
Index packed_cache_bytes(const ModelConfig& config, Index num_tokens);
double packed_cache_bytes_per_token(const ModelConfig& config);

}  // namespace fathom::config
