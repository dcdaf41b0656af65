#include "fathom/serve/engine/snapshot_keeper.h"

#include <array>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::engine {
namespace {

// Caches that wait for the disk hold memory that the engine could use.
constexpr Index kMostWaiting = 8;

}  // namespace

SnapshotKeeper::SnapshotKeeper(const SnapshotOptions& options,
                               std::function<kv::SequenceCache()> make_cache,
                               std::function<void(Loaded loaded)> on_loaded)
    : options_(options),
      make_cache_(std::move(make_cache)),
      on_loaded_(std::move(on_loaded)),
      store_(options.folder, options.budget_bytes),
      writer_(store_, kMostWaiting),
      reader_([this] { run(); }) {
  tell_notes();
}

SnapshotKeeper::~SnapshotKeeper() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  reader_.join();
}

std::optional<SnapshotKeeper::Match> SnapshotKeeper::find(const std::string& scope,
                                                          std::span<const TokenId> tokens) const {
  return store_.find({.fingerprint = options_.identity, .scope = scope}, tokens);
}

void SnapshotKeeper::load(const Match& match,
                          RequestId request,
                          const std::string& scope,
                          std::span<const TokenId> tokens) {
  const auto held = tokens.first(to_size(match.num_tokens));
  Job job{
      .match = match,
      .loaded = {
          .request = request, .scope = scope, .tokens = {held.begin(), held.end()}, .cache = {}}};
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  changed_.notify_all();
}

void SnapshotKeeper::run() {
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_stopping_ || !jobs_.empty(); });
    if (is_stopping_) {
      return;
    }
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    try {
      kv::SequenceCache cache = make_cache_();
      if (store_.load(job.match, cache)) {
        job.loaded.cache = std::move(cache);
      }
    } catch (const std::exception& error) {  // no memory: the prompt is computed instead
      if (options_.on_note) {
        options_.on_note(error.what());
      }
    }
    tell_notes();
    on_loaded_(std::move(job.loaded));
  }
}

void SnapshotKeeper::save(const std::string& scope,
                          std::span<const TokenId> tokens,
                          const kv::SequenceCache& cache,
                          Index prompt_end) {
  FATHOM_CHECK(to_index(tokens.size()) == cache.num_tokens());
  const std::array positions = {std::min(prompt_end, cache.num_tokens())};
  writer_.submit({.fingerprint = options_.identity, .scope = scope},
                 std::vector<TokenId>(tokens.begin(), tokens.end()), cache.thinned(positions));
  tell_notes();
}

void SnapshotKeeper::flush() {
  writer_.flush();
  tell_notes();
}

void SnapshotKeeper::tell_notes() {
  for (const std::string& note : writer_.take_notes()) {
    if (options_.on_note) {
      options_.on_note(note);
    }
  }
}

}  // namespace fathom::engine
