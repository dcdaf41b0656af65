// Picks the next token from the logits of a model, and reports log-probabilities.
//
// A sampler holds scratch memory only: one per thread serves any number of sequences. The pick is a
// function of logits, options, history, allowed tokens and (seed, choice, position), nothing else.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/model/sampling/logit_scan.h"
#include "fathom/model/sampling/options.h"
#include "fathom/model/sampling/token_history.h"

namespace fathom::sampling {

struct SamplingInput {
  std::span<const float> logits;  // [V]
  std::span<const std::uint32_t> allowed_tokens =
      {};                                 // [ceil(V/32)] bit set: allowed; empty: all are
  const TokenHistory* history = nullptr;  // may be null when no penalty is set
  Index choice_idx = 0;
  Index position = 0;
};

struct TokenLogprob {
  TokenId id = 0;
  double logprob = 0;
};

// Natural logarithm of the softmax of the model's own logits: temperature 1, before bias, penalties
// and filters. What has probability 0 is reported as kLowestLogprob, never as -inf.
inline constexpr double kLowestLogprob = -9999;
struct TokenLogprobs {
  double logprob = 0;             // of the token asked for
  std::vector<TokenLogprob> top;  // most likely first, the lower id first among equals
};

class Sampler {
 public:
  // Nothing when no token is left: none allowed, or every allowed logit is -inf.
  // Throws Internal for a logit that is NaN or +inf. `options` must be valid.
  std::optional<TokenId> sample(const SamplingInput& input, const SamplingOptions& options);

  // Fills `result` for one token and the n most likely ones.
  void logprobs(std::span<const float> logits, TokenId id, Index num_top, TokenLogprobs& result);

 private:
  void adjust(const SamplingInput& input, const SamplingOptions& options);
  void filter(const SamplingOptions& options, float scale);
  void collect_top_p(double top_p, float scale);
  void keep_top_p(double mass);
  void keep_typical(double mass);
  TokenId draw_from_all(double uniform, float scale);
  TokenId draw_from_candidates(double uniform) const;

  std::vector<float> logits_;  // adjusted by mask, bias and penalties
  BlockMaxima maxima_;
  std::vector<double> block_sums_;
  std::vector<Candidate> candidates_;
  std::vector<Candidate> scratch_;
};

}  // namespace fathom::sampling
