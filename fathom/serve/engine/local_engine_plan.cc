// What the next step computes, and where caches come from and go to.
#include <algorithm>
#include <chrono>
#include <utility>

#include "fathom/serve/engine/local_engine.h"

namespace fathom::engine {
namespace {

using platform::Clock;

// Less is computed sooner than it is written and read.
constexpr Index kWorthSaving_tokens = 64;

// A request waits for a prefix that another one is computing when it saves as many tokens.
constexpr Index kWorthWaiting_tokens = 32;

double seconds_since(TimePoint begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

// Makes room and puts sequences back until there is something to compute.
StepPlan LocalEngine::next_plan() {
  for (;;) {
    promised_.clear();
    candidates_.clear();
    StepPlan plan = scheduler_.plan({.free_bytes = free_bytes(),
                                     .can_evict = library_.num_sequences() > 0,
                                     .reusable = [this](SequenceId id) { return reusable(id); }});
    if (plan.bytes_short > 0 && make_room(plan.bytes_short)) {
      continue;
    }
    apply(plan);
    if (!plan.rows.empty() || (plan.preempted.empty() && plan.admitted.empty())) {
      return plan;
    }
  }
}

// Whether any kept sequence could go.
bool LocalEngine::make_room(Index bytes_short) {
  const Index wanted = used_bytes() - bytes_short;
  bool has_evicted = false;
  while (used_bytes() > wanted && library_.evict_one(promised_)) {
    has_evicted = true;
  }
  if (used_bytes() > wanted && snapshots_ != nullptr) {
    snapshots_->drop_waiting();
  }
  return has_evicted;
}

LocalEngine::Source LocalEngine::find_source(const Sequence& sequence) const {
  Source source;
  if (sequence.wants_scores()) {
    return source;  // every row of the prompt is wanted
  }
  // The last token is computed in any case: its logits choose the next one.
  const auto tokens = std::span<const TokenId>(sequence.tokens).first(sequence.tokens.size() - 1);
  const std::string& scope = sequence.request->cache_key;
  source.retained = library_.find(scope, tokens);
  source.num_tokens = source.retained ? source.retained->num_tokens : 0;
  for (const auto& [id, other] : sequences_) {
    if (other->caches && other->request->cache_key == scope) {
      const auto computed =
          std::span<const TokenId>(other->tokens).first(to_size(other->num_cached()));
      const Index common = common_prefix(tokens, computed);
      const Index point = common > source.num_tokens ? other->caches->resume_point(common) : 0;
      if (point > source.num_tokens) {
        source = {.num_tokens = point, .retained = {}, .running = other};
      }
    }
  }
  return source;
}

Reusable LocalEngine::reusable(SequenceId id) {
  const Sequence& sequence = at(id);
  const Source source = find_source(sequence);
  if (sequence.wants_scores()) {
    candidates_.push_back(id);
    return {};
  }
  const auto tokens = std::span<const TokenId>(sequence.tokens).first(sequence.tokens.size() - 1);
  const auto computes_more = [&](const Sequence& other) {
    if (other.request->cache_key != sequence.request->cache_key) {
      return false;
    }
    const Index common = common_prefix(tokens, other.tokens);
    return common > other.num_cached() && common >= source.num_tokens + kWorthWaiting_tokens;
  };
  const bool is_coming = std::any_of(sequences_.begin(), sequences_.end(),
                                     [&](const auto& entry) {
                                       return entry.second->caches && computes_more(*entry.second);
                                     }) ||
                         std::any_of(candidates_.begin(), candidates_.end(),
                                     [&](SequenceId other) { return computes_more(at(other)); });
  if (!is_coming) {
    candidates_.push_back(id);
    if (source.retained) {
      promised_.insert(source.retained->id);
    }
  }
  return {.num_tokens = source.num_tokens, .is_coming = is_coming};
}

void LocalEngine::apply(const StepPlan& plan) {
  for (const SequenceId id : plan.preempted) {
    retain(at(id));
  }
  scheduler_.apply(plan);
  for (const SequenceId id : plan.admitted) {
    Sequence& sequence = at(id);
    admit(sequence);
    scheduler_.update(id, sequence.num_cached(), sequence.num_tokens(), false);
  }
  const std::lock_guard lock(mutex_);
  stats_.preemptions += plan.preempted.size();
}

void LocalEngine::admit(Sequence& sequence) {
  const Source source = find_source(sequence);
  if (source.retained) {
    sequence.caches = library_.fork(*source.retained);
  } else if (source.running != nullptr) {
    sequence.caches = source.running->caches;
    sequence.caches->truncate(source.num_tokens);
  } else {
    const auto make = [&](const std::vector<config::CacheStream>& layout) {
      return kv::SequenceCache(layout, model_.context->cache_dtype(), model_.cache_options,
                               model_.pages);
    };
    sequence.caches = SequenceCaches{.model = make(model_.lm->cache_layout())};
    if (keeps_drafts_) {
      sequence.caches->draft = make(draft_->cache_layout());
    }
  }
  ActiveRequest& request = *sequence.request;
  if (!request.was_admitted) {
    request.was_admitted = true;
    request.usage.num_cached = source.num_tokens;
    const std::lock_guard lock(mutex_);
    stats_.queue_wait.add(seconds_since(request.submit_time));
    stats_.prompt_tokens += static_cast<std::uint64_t>(request.usage.num_prompt);
    const Index from_disk = std::min(source.num_tokens, request.num_on_disk);
    stats_.cached_tokens_disk += static_cast<std::uint64_t>(from_disk);
    stats_.cached_tokens_memory += static_cast<std::uint64_t>(source.num_tokens - from_disk);
  }
  report(sequence);
}

// Takes a sequence's cache from it, for whoever begins alike; itself, if it goes on.
void LocalEngine::retain(Sequence& sequence) {
  sequence.drop_guesses();
  if (sequence.num_cached() > 0) {
    std::vector<TokenId> computed(sequence.tokens.begin(),
                                  sequence.tokens.begin() + sequence.num_cached());
    library_.insert(sequence.request->cache_key, std::move(computed), *std::move(sequence.caches));
  }
  sequence.caches.reset();
}

// Has what a reply's conversation computed written to disk.
void LocalEngine::save(Sequence& sequence) {
  sequence.drop_guesses();
  if (snapshots_ == nullptr || sequence.choice_idx != 0 ||
      sequence.num_cached() < kWorthSaving_tokens) {
    return;
  }
  const ActiveRequest& request = *sequence.request;
  snapshots_->save(request.cache_key,
                   std::span<const TokenId>(sequence.tokens).first(to_size(sequence.num_cached())),
                   sequence.caches->model, request.usage.num_prompt);
}

}  // namespace fathom::engine
