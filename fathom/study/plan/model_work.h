// What computing tokens takes, counted from a config: bytes, operations, and how often something
// starts. Formulas: docs/planning.md, architecture specification 5.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/compute/numeric/weight_format.h"
#include "fathom/model/config/footprint.h"
#include "fathom/model/config/model_config.h"

namespace fathom::plan {

// The kinds of work of which the time of a step is the sum.
enum class Work {
  PackedBytes,  // of weights that products read as 8-bit integers
  PlainBytes,   // of weights that are numbers: F16, BF16, F32
  CodedBytes,   // of other weights, which are decoded first: FP8 of the official layout, K-quants
  // Of products, a multiplication and an addition are two: with packed weights or with others, of a
  // matrix (of an expert, its own) with few tokens, which are as fast as it is read, or with many.
  PackedFewOps,
  PackedManyOps,
  WideFewOps,
  WideManyOps,
  // Of queries with cache rows and of their sums: with rows that are key and value at once, or keys
  // and values in groups; for one token of a sequence, or for many of them together.
  TokenSharedOps,
  PromptSharedOps,
  TokenGroupedOps,
  PromptGroupedOps,
  IndexOps,          // of the indexer's scores
  CacheBytes,        // cache rows read, those that sequences have in common once
  ExchangedNumbers,  // activations that ops between the products read or write
  RoutedTokens,      // tokens x layers with a router: sorting them is one thread's work
  SequenceLayers,    // sequences x layers: attention is computed for each alone
  SharedStarts,      // ops started with several tokens: their loops are for all threads
  Starts,            // ops started
};
inline constexpr std::size_t kNumWorks = 18;
std::string_view to_string(Work work);
std::optional<Work> find_work(std::string_view name);

using Amounts = std::array<double, kNumWorks>;
inline double& at(Amounts& amounts, Work work) {
  return amounts[static_cast<std::size_t>(work)];
}
inline double at(const Amounts& amounts, Work work) {
  return amounts[static_cast<std::size_t>(work)];
}

// How each tensor is stored: by a StoragePlan, or as the headers of files say.
struct Storage {
  config::BytesOf bytes_of;
  std::function<numeric::WeightFormat(const config::WeightSpec&)> format_of;
};
Storage storage_by_plan(const config::StoragePlan& plan);

// How products read a weight.
enum class WeightClass { Packed, Plain, Coded };
inline constexpr std::size_t kNumWeightClasses = 3;

// Weights of one class, summed: the parts that every token needs and the routed experts.
struct WeightSums {
  double dense_bytes = 0;
  double dense_products = 0;   // per token, the head's left out
  double head_bytes = 0;       // matrix of the logits
  double head_products = 0;    // per row of logits
  double expert_bytes = 0;     // of one expert of each layer, all layers together
  double expert_products = 0;  // per token and chosen expert, all layers together
};
using WeightsByClass = std::array<WeightSums, kNumWeightClasses>;

// One token for each of several sequences, or many tokens of one: what a step computes.
struct Step {
  Index num_sequences = 1;
  Index tokens_per_sequence = 1;
  Index context = 0;         // tokens in each cache before
  Index shared_context = 0;  // of them those whose rows all sequences have in common
  Index logits_per_sequence = 1;
};

// The sums over the weight table and the layers of a config, made once.
class ModelWork {
 public:
  ModelWork(const config::ModelConfig& config, const Storage& storage);

  Amounts of(const Step& step) const;
  // Computing `num_tokens` of a prompt behind `context` tokens, `step_tokens` at a time, with the
  // logits of the last one.
  Amounts of_prompt(Index num_tokens, Index context, Index step_tokens) const;
  // Bytes of all weights that products read: what is read again and again while decoding.
  double weight_bytes() const;
  // Bytes of cache rows that decoding a token behind `context` tokens reads.
  double cache_bytes_read(Index context) const;
  // A draft of one further token by the MTP block, logits included; zeros without one.
  Amounts of_draft(Index num_sequences) const;

  const config::ModelConfig& config() const { return config_; }

 private:
  struct LayerKind {
    config::AttentionKind attention;
    Index compress_ratio;
    Index count;
  };
  void add_weight(const config::WeightSpec& spec, const Storage& storage);
  void add_attention(const Step& step, Amounts& amounts) const;
  // Bytes of rows that a sequence's last tokens see, of which `context` are there before.
  double cache_bytes(Index context, Index num_tokens) const;
  double numbers_per_token() const;
  double starts_per_step() const;

  config::ModelConfig config_;
  WeightsByClass weights_;
  WeightsByClass draft_weights_;
  std::vector<LayerKind> kinds_;
  Index num_routed_layers_ = 0;
};

// Experts that a step of `num_tokens` tokens is expected to choose of E when each token chooses K
// of them evenly: E (1 - (1 - K/E)^tokens).
double expected_experts(Index num_experts, Index num_chosen, double num_tokens);

}  // namespace fathom::plan
