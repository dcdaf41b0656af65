// A training batch as one step of a model: a segment and a whole-sequence cache for every piece.
#pragma once

#include <span>
#include <vector>

#include "fathom/compute/ops/context.h"
#include "fathom/model/kv/whole_sequence_kv.h"
#include "fathom/model/layers/causal_lm.h"
#include "fathom/train/data/batch.h"

namespace fathom::train {

// Throws InvalidArgument, naming the row or the piece, for lists of different lengths, pieces that
// do not sum to the batch or are longer than the model's context, tokens outside the vocabulary,
// weights that are negative or no numbers, and targets outside the vocabulary where a weight is.
void check_batch(const data::Batch& batch, const config::ModelConfig& config);

// Lives for as long as a tape may run layers again.
class PieceBatch {
 public:
  // One cache with the layout for each piece; `tokens` and `piece_tokens` have to stay. What the
  // step is made of lies in the context's arena.
  PieceBatch(ops::Context& context,
             const std::vector<config::CacheStream>& layout,
             std::span<const std::int32_t> tokens,
             std::span<const Index> piece_tokens);
  PieceBatch(const PieceBatch&) = delete;
  PieceBatch& operator=(const PieceBatch&) = delete;

  const layers::TokenBatch& step() const { return step_; }

 private:
  std::vector<kv::WholeSequenceKv> caches_;
  layers::TokenBatch step_;
};

}  // namespace fathom::train
