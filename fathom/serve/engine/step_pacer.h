// How many prompt tokens a step may compute beside the sequences that are being decoded, so that
// those do not wait: learned from how long steps took.
//
// A step of D sequences being decoded and P prompt tokens is taken to last decode(D) + P * rate.
// Both are measured; the time is passed in.
#pragma once

#include <optional>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::engine {

struct PaceOptions {
  // A step with prompt tokens lasts at most so many times what it would last without them ...
  double prompt_stretch = 1.6;
  // ... but this long in any case: nobody notices, and prompts get on when few are decoded.
  double short_step_s = 0.02;
  // A step without anything to decode: what a request that comes in has to wait for.
  double prompt_step_s = 0.25;
  Index first_prompt_tokens = 32;  // while nothing was measured
  // So many in any case. Few tokens cost more each, above all where each wakes experts of its own:
  // chunks that shrink because of it would never show that larger ones are cheaper.
  Index least_prompt_tokens = 16;
};

class StepPacer {
 public:
  explicit StepPacer(const PaceOptions& options) : options_(options) {}

  // A step of `num_decoded` sequences and `num_prompt` prompt tokens took so long.
  void record(Index num_decoded, Index num_prompt, double seconds);

  // At least least_prompt_tokens.
  Index prompt_tokens(Index num_decoded) const;

 private:
  std::optional<double> decode_s(Index num_decoded) const;

  PaceOptions options_;
  std::vector<double> decode_s_;  // [sequences] smoothed; 0: not seen yet
  double prompt_token_s_ = 0;     // smoothed; 0: not seen yet
};

}  // namespace fathom::engine
