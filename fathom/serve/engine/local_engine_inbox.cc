// What comes to the engine's thread: requests, whose snapshots may have to be read first, and those
// that are no longer wanted.
#include <utility>

#include "fathom/serve/engine/local_engine.h"

namespace fathom::engine {
namespace {

using platform::Clock;

// Less is computed sooner than it is read.
constexpr Index kWorthLoading_tokens = 64;

}  // namespace

// Sleeps while there is nothing to do. False when the engine is to end.
bool LocalEngine::take_inbox() {
  std::vector<std::unique_ptr<ActiveRequest>> arrivals;
  std::vector<RequestId> cancels;
  std::vector<SnapshotKeeper::Loaded> loaded;
  bool is_stopping = false;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      return is_stopping_ || !arrivals_.empty() || !cancels_.empty() || !loaded_.empty() ||
             !sequences_.empty();
    });
    if (sequences_.empty()) {
      step_begin_ = Clock::now();
    }
    loaded.swap(loaded_);
    arrivals.swap(arrivals_);
    cancels.swap(cancels_);
    is_stopping = is_stopping_;
  }
  for (std::unique_ptr<ActiveRequest>& request : arrivals) {
    enter(std::move(request));
  }
  for (SnapshotKeeper::Loaded& each : loaded) {
    take_loaded(std::move(each));
  }
  for (const RequestId id : cancels) {
    const auto found = requests_.find(id);
    if (found != requests_.end()) {
      drop(*found->second);
    }
  }
  return !is_stopping;
}

void LocalEngine::enter(std::unique_ptr<ActiveRequest> request) {
  ActiveRequest& entered = *request;
  requests_[entered.id] = std::move(request);
  if (!is_on_disk(entered)) {
    schedule(entered);
  }
}

// Whether a snapshot spares enough of a request's prompt; it is on its way then.
bool LocalEngine::is_on_disk(ActiveRequest& request) {
  const Sequence& first = *request.sequences.front();
  if (snapshots_ == nullptr || first.wants_scores()) {
    return false;
  }
  const auto tokens = std::span<const TokenId>(first.tokens).first(first.tokens.size() - 1);
  const auto match = snapshots_->find(request.cache_key, tokens);
  if (!match || match->num_tokens < find_source(first).num_tokens + kWorthLoading_tokens) {
    return false;
  }
  const Index needed = cache_size_.resident_bytes(match->num_tokens);
  promised_.clear();
  if (needed > free_bytes()) {
    make_room(needed - free_bytes());
  }
  if (needed > free_bytes()) {
    return false;  // what runs has the memory
  }
  request.loading_bytes = needed;
  loading_bytes_ += needed;
  ++num_loading_;
  snapshots_->load(*match, request.id, request.cache_key, tokens);
  return true;
}

void LocalEngine::take_loaded(SnapshotKeeper::Loaded loaded) {
  const Index num_held = loaded.cache ? loaded.cache->num_tokens() : 0;
  if (loaded.cache) {
    library_.insert(loaded.scope, std::move(loaded.tokens),
                    SequenceCaches{.model = *std::move(loaded.cache)});
  }
  const auto found = requests_.find(loaded.request);
  if (found != requests_.end()) {
    ActiveRequest& request = *found->second;
    request.num_on_disk = num_held;
    stop_loading(request);
    schedule(request);
  }
}

// Its memory is used by now, or free.
void LocalEngine::stop_loading(ActiveRequest& request) {
  if (request.loading_bytes > 0) {
    loading_bytes_ -= std::exchange(request.loading_bytes, 0);
    --num_loading_;
  }
}

void LocalEngine::schedule(ActiveRequest& request) {
  for (const std::unique_ptr<Sequence>& sequence : request.sequences) {
    sequence->id = static_cast<SequenceId>(++num_sequences_);
    sequences_[sequence->id] = sequence.get();
    scheduler_.add({.id = sequence->id,
                    .priority = request.prepared.request.priority,
                    .user = request.scope(),
                    .num_tokens = sequence->num_tokens(),
                    .deadline = request.deadline});
  }
}

// Does nothing to a sequence whose request still waits for the disk.
void LocalEngine::unschedule(const Sequence& sequence) {
  if (sequences_.erase(sequence.id) > 0) {
    scheduler_.remove(sequence.id);
  }
}

}  // namespace fathom::engine
