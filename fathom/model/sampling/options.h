// What a request says about how its tokens are chosen.
//
// The filters work in a fixed order, that of vLLM: allowed tokens, logit bias, repetition penalty,
// frequency and presence penalty, temperature, min_p, top_k, typical_p, top_p. Each looks at the
// distribution that the ones before it left, renormalised.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::sampling {

using TokenId = std::int32_t;

struct LogitBias {
  TokenId id = 0;
  double bias = 0;  // added to the logit, -100 to 100; -100 all but bans, 100 all but forces
};

struct SamplingOptions {
  double temperature = 1;         // 0 to 100; 0: the largest logit, the lowest id of equals
  Index top_k = 0;                // the k most likely; 0: off
  double top_p = 1;               // the fewest most likely tokens that hold this mass
  double min_p = 0;               // at least this share of the most likely token's probability
  double typical_p = 1;           // mass held by the tokens nearest to the entropy; 1: off
  double repetition_penalty = 1;  // on tokens of prompt and reply; 1: off
  double presence_penalty = 0;    // -2 to 2, once per token that the reply holds
  double frequency_penalty = 0;   // -2 to 2, per occurrence in the reply
  std::vector<LogitBias> logit_bias;
  std::uint64_t seed = 0;
  // Log-probabilities to report: of the chosen token and of the n best, at most 128. Nothing: none.
  std::optional<Index> num_top_logprobs = {};
};

// Throws InvalidArgument naming the field, what is allowed and what was found.
void validate(const SamplingOptions& options, Index vocab_size);

}  // namespace fathom::sampling
