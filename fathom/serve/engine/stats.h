// What an engine has done and is doing, for metrics and the live panel.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::engine {

// Counts of observations up to each bound, and beyond the last; in seconds.
class Histogram {
 public:
  static constexpr std::array kBoundsS = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,  0.25,
                                          0.5,   1.0,    2.5,   5.0,  10.0,  30.0, 60.0, 300.0};

  void add(double seconds);
  // Observations that were at most kBoundsS[i]; the last entry: all.
  std::array<std::uint64_t, kBoundsS.size() + 1> cumulative() const;
  double sum_s() const { return sum_s_; }
  std::uint64_t count() const;

 private:
  std::array<std::uint64_t, kBoundsS.size() + 1> counts_{};
  double sum_s_ = 0;
};

// Totals since the start, unless said otherwise.
struct EngineStats {
  // Now.
  Index num_waiting = 0;
  Index num_running = 0;         // sequences
  std::int64_t cache_bytes = 0;  // pages of caches that are in use
  std::int64_t cache_budget_bytes = 0;
  double decode_tokens_per_s = 0;  // of the last seconds

  std::uint64_t requests_served = 0;
  std::uint64_t requests_failed = 0;
  std::uint64_t requests_cancelled = 0;
  std::uint64_t requests_rejected = 0;  // the queue was full
  std::uint64_t preemptions = 0;
  std::uint64_t steps = 0;
  std::uint64_t prompt_tokens = 0;
  std::uint64_t cached_tokens_memory = 0;  // of prompts, taken over from sequences in memory
  std::uint64_t cached_tokens_disk = 0;    // ... from snapshots
  std::uint64_t reply_tokens = 0;
  std::uint64_t step_tokens = 0;  // computed by all steps: / steps is the mean batch
  std::uint64_t drafted_tokens = 0;
  std::uint64_t accepted_drafts = 0;

  Histogram time_to_first_token;
  Histogram inter_token;
  Histogram queue_wait;
};

}  // namespace fathom::engine
