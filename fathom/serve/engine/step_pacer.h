// How many prompt tokens a step may compute beside the sequences that are being decoded, so that
// those do not wait: learned from how long steps took.
//
// A step of D sequences being decoded and P prompt tokens is taken to last decode(D) + P * rate.
// Both are measured; the time is passed in. Steps scatter around that, on a busy machine widely,
// and what a client notices is the late ones: so chunks shrink while more than a few steps are
// late.
#pragma once

#include <optional>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::engine {

struct PaceOptions {
  // A step with prompt tokens lasts at most so many times what it would last without them ...
  double prompt_stretch = 1.6;
  // ... less, down to this, while too many of them last more than late_stretch times that. Steps
  // without prompt tokens that are as late are the machine's doing and do not count.
  double least_stretch = 1.3;
  double late_stretch = 2.0;
  double late_share = 0.03;
  // All that this short a step is in any case: nobody notices, and prompts get on when few are
  // decoded.
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
  explicit StepPacer(const PaceOptions& options)
      : options_(options), stretch_(options.prompt_stretch) {}

  // A step of `num_decoded` sequences and `num_prompt` prompt tokens took so long.
  void record(Index num_decoded, Index num_prompt, double seconds);

  // At least least_prompt_tokens.
  Index prompt_tokens(Index num_decoded) const;

 private:
  std::optional<double> decode_s(Index num_decoded) const;
  void adapt(bool is_late);

  PaceOptions options_;
  double stretch_;
  double late_decode_share_ = 0;  // of steps without prompt tokens, smoothed
  std::vector<double> decode_s_;  // [sequences] smoothed; 0: not seen yet
  double prompt_token_s_ = 0;     // smoothed; 0: not seen yet
};

}  // namespace fathom::engine
