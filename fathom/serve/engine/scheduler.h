// Decides what the next step computes. Pure logic: time, memory and what can be reused are passed
// in; no threads, no tensors; the same calls give the same plans.
//
// Sequences that are being decoded come first, one token each; what is left of the step goes to
// prompts, in chunks. Who is let in next: the better priority; of equals the user who has fewer
// sequences running, then the one who has had fewer tokens; of a user's the one who came first.
//
// Every sequence that was added gets done unless better priorities keep coming: of those that run,
// the oldest of the best priority is never put back, and memory always suffices for one alone.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/base/platform/clock.h"
#include "fathom/serve/engine/step_pacer.h"

namespace fathom::engine {

using TimePoint = platform::Clock::time_point;

enum class SequenceId : std::uint64_t {};

struct SchedulerOptions {
  Index max_running = 32;          // sequences that hold a cache
  Index step_tokens = 512;         // at least max_running
  Index max_prompts_per_user = 2;  // prompts of one user in the making
  Index reply_tokens_ahead = 64;   // room for a reply that a sequence must find to be let in
  PaceOptions pace = {};
};

// How much memory caches take.
struct CacheCost {
  std::function<Index(Index num_tokens)> resident_bytes;
  std::function<Index(Index num_tokens, Index num_new)> growth_bytes;
  Index fork_bytes = 0;  // that a fork may copy when it goes on
};

// A sequence as the scheduler sees it.
struct Job {
  SequenceId id{};
  int priority = 0;  // less is served first
  std::string user;
  Index num_tokens = 0;  // of its prompt
  std::optional<TimePoint> deadline = {};
};

// How much of a sequence another one has computed, or is about to.
struct Reusable {
  Index num_tokens = 0;
  bool is_coming = false;  // more of it is being computed: worth waiting for
};

// What there is for a step.
struct Capacity {
  Index free_bytes = 0;    // of the caches' budget
  bool can_evict = false;  // retained sequences could give way
  // Asked of sequences that may be let in.
  std::function<Reusable(SequenceId)> reusable;
};

struct StepRow {
  SequenceId id{};
  Index num_tokens = 0;  // the next ones of its sequence
  bool is_decode = false;
};

struct StepPlan {
  std::vector<SequenceId> preempted;  // give their caches up, first of all
  std::vector<SequenceId> admitted;   // get one
  std::vector<StepRow> rows;
  // Bytes that are missing for more; 0: memory holds nothing up.
  Index bytes_short = 0;
};

class Scheduler {
 public:
  // Throws InvalidArgument for options out of range.
  Scheduler(const SchedulerOptions& options, CacheCost cost);
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  void add(const Job& job);
  // Done, or no longer wanted.
  void remove(SequenceId id);

  // Sequences whose deadline has passed, in order of arrival.
  std::vector<SequenceId> expired(TimePoint now) const;

  // Changes nothing. Without rows, after `preempted` was applied, there is more memory for another
  // plan; without either, nothing is there to be computed.
  StepPlan plan(const Capacity& capacity) const;
  void apply(const StepPlan& plan);

  // The truth about a sequence that runs: tokens in its cache and tokens there are. It is decoded
  // once its prompt is computed: from then on all of its tokens go into one step.
  void update(SequenceId id, Index num_cached, Index num_tokens, bool is_decoding);

  void record_step(Index num_decoded, Index num_prompt, double seconds) {
    pacer_.record(num_decoded, num_prompt, seconds);
  }

  Index num_waiting() const { return to_index(jobs_.size()) - num_running_; }
  Index num_running() const { return num_running_; }

 private:
  struct User {
    Index num_jobs = 0;
    Index num_served = 0;  // tokens
  };
  using UserEntry = std::map<std::string, User>::value_type;
  struct Entry {
    Job job;
    UserEntry* user = nullptr;
    bool is_running = false;
    bool is_decoding = false;
    bool is_fork = false;  // has not gone on yet
    Index num_cached = 0;
    Index num_tokens = 0;

    Index num_left() const { return num_tokens - num_cached; }
  };
  class Draft;

  Entry& at(SequenceId id);

  SchedulerOptions options_;
  CacheCost cost_;
  StepPacer pacer_;
  std::map<std::string, User> users_;  // those with jobs
  std::map<SequenceId, Entry> jobs_;   // in order of arrival: ids ascend
  Index num_running_ = 0;
};

}  // namespace fathom::engine
