// Perplexity: how surprised a model is by a text, token by token.
//
// The method is that of llama.cpp's llama-perplexity, so that figures can be compared: the text is
// cut into chunks that do not overlap, each is computed on its own, and only its second half is
// scored, where every token has at least half a chunk of context.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::eval {

struct PerplexityPlan {
  Index chunk_tokens;
  Index num_chunks;
  Index num_unscored_tail;  // tokens after the last whole chunk
  // Row r of a chunk's logits predicts its token r + 1; rows before this one are not scored.
  Index first_scored_row() const { return chunk_tokens / 2; }
  Index scored_per_chunk() const { return chunk_tokens - 1 - first_scored_row(); }
};

// Throws InvalidArgument when the chunk is shorter than 4 tokens or the text than one chunk.
PerplexityPlan plan_perplexity(Index num_tokens, Index chunk_tokens);

// The tokens of a chunk. With `bos`, the chunk's first token gives way to it.
std::vector<std::int32_t> chunk_of(const PerplexityPlan& plan,
                                   std::span<const std::int32_t> tokens,
                                   Index chunk_idx,
                                   std::optional<std::int32_t> bos);

// Negative log-likelihood, in nats, of `target` under the softmax of logits [V]; in double.
double negative_log_likelihood(std::span<const float> logits, std::int32_t target);

// Mean and standard error of a stream of values.
class RunningMean {
 public:
  void add(double value);
  Index count() const { return count_; }
  double mean() const { return mean_; }
  double standard_error() const;  // 0 for fewer than two values

 private:
  Index count_ = 0;
  double mean_ = 0;
  double sum_of_squares_ = 0;  // of deviations from the mean
};

}  // namespace fathom::eval
