// What every model family offers to engines, trainers and evaluators.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "fathom/compute/numeric/weight_format.h"
#include "fathom/compute/ops/context.h"
#include "fathom/model/config/cache_layout.h"
#include "fathom/model/config/model_config.h"
#include "fathom/model/kv/kv_store.h"

namespace fathom::layers {

// The rows of a step that belong to one sequence.
struct Segment {
  Index first_row;   // in the batch
  Index num_tokens;  // at least 1
  Index position;    // of the first of them
  kv::KvStore* kv;   // the sequence's cache, holding `position` tokens
};

// The tokens of one step: all segments, one after another. What it lists lies in step memory.
struct TokenBatch {
  std::span<const std::int32_t> tokens;  // [T]
  std::span<const Index> positions;      // [T]
  std::span<const Segment> segments;

  static TokenBatch single(tensor::Arena& arena,
                           std::span<const std::int32_t> tokens,
                           kv::KvStore& kv);
  // One segment per sequence: the first counts[0] tokens go to caches[0], and so on.
  static TokenBatch of(tensor::Arena& arena,
                       std::span<const std::int32_t> tokens,
                       std::span<const Index> counts,
                       std::span<kv::KvStore* const> caches);
};

// The last step of every prediction, before it is taken: logits[t] = head x[t].
struct HeadInput {
  tensor::Tensor x;          // [T, D]
  numeric::WeightView head;  // [V, D]
};

// A block that predicts one token further than the model (multi-token prediction).
class DraftModule {
 public:
  virtual ~DraftModule() = default;
  virtual const std::vector<config::CacheStream>& cache_layout() const = 0;

  // Row t holds the token that follows the one `hidden` row t was computed for; the position is
  // that of the hidden state. Returns the block's hidden states, [T, ...] as `hidden`.
  virtual tensor::Tensor forward(ops::Context& context,
                                 const TokenBatch& next_tokens,
                                 const tensor::Tensor& hidden) const = 0;
  virtual tensor::Tensor logits(ops::Context& context,
                                const tensor::Tensor& hidden) const = 0;  // [T, V]
  // What a trainer computes losses from, of the block's hidden states.
  virtual HeadInput head_input(ops::Context& context, const tensor::Tensor& hidden) const = 0;
  // As CausalLm's.
  tensor::Tensor token_losses(ops::Context& context,
                              const tensor::Tensor& hidden,
                              std::span<const std::int32_t> targets) const;
};

class CausalLm {
 public:
  virtual ~CausalLm() = default;
  virtual const config::ModelConfig& config() const = 0;
  virtual const std::vector<config::CacheStream>& cache_layout() const = 0;

  // Computes one step and appends to the caches of its segments without committing. Returns the
  // final hidden state of every row, in the step arena; its first dimension is T, the others are
  // the family's own.
  virtual tensor::Tensor forward(ops::Context& context, const TokenBatch& batch) const = 0;
  // Logits [T, V] of hidden rows.
  virtual tensor::Tensor logits(ops::Context& context, const tensor::Tensor& hidden) const = 0;
  // What a trainer computes losses from. Throws Unsupported for a family without training.
  virtual HeadInput head_input(ops::Context& context, const tensor::Tensor& hidden) const;
  // The losses [T] of predicting targets[t] from hidden row t, in nats; what a trainer records and
  // goes back from.
  tensor::Tensor token_losses(ops::Context& context,
                              const tensor::Tensor& hidden,
                              std::span<const std::int32_t> targets) const;
  // Null when the model has none.
  virtual const DraftModule* draft() const = 0;
};

// Runs a step and commits it; if it throws, the caches are as before.
tensor::Tensor run_step(const CausalLm& model, ops::Context& context, const TokenBatch& batch);
tensor::Tensor run_step(const DraftModule& draft,
                        ops::Context& context,
                        const TokenBatch& next_tokens,
                        const tensor::Tensor& hidden);

}  // namespace fathom::layers
