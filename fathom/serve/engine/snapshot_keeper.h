// What requests computed, kept on disk for the next request or the next start.
//
// Files are written and read by threads of its own: the engine waits for no disk.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "fathom/model/kv/snapshot_store.h"
#include "fathom/model/kv/snapshot_writer.h"
#include "fathom/serve/engine/engine.h"

namespace fathom::engine {

struct SnapshotOptions {
  std::string folder;  // made if it is not there; of one process at a time
  std::int64_t budget_bytes = 0;
  // Of everything that the bits of a cache depend on besides the tokens.
  std::string identity = {};
  // What was amiss: a line each, from any thread.
  std::function<void(const std::string& note)> on_note = {};
};

class SnapshotKeeper {
 public:
  // What became of load(): the cache of `tokens`, or none where the file was gone or damaged.
  struct Loaded {
    RequestId request{};
    std::string scope;
    std::vector<TokenId> tokens;
    std::optional<kv::SequenceCache> cache;
  };

  // `make_cache` makes empty caches, from any thread; `on_loaded` is told by a thread of the
  // keeper's. Throws what SnapshotStore throws.
  SnapshotKeeper(const SnapshotOptions& options,
                 std::function<kv::SequenceCache()> make_cache,
                 std::function<void(Loaded loaded)> on_loaded);
  // Ends what is being read or written; the rest is dropped: flush() before keeps it.
  ~SnapshotKeeper();
  SnapshotKeeper(const SnapshotKeeper&) = delete;
  SnapshotKeeper& operator=(const SnapshotKeeper&) = delete;

  using Match = kv::SnapshotStore::Match;
  // The snapshot with which a sequence can go on furthest.
  std::optional<Match> find(const std::string& scope, std::span<const TokenId> tokens) const;
  // Has what was found read for a request; `tokens` are the sequence's.
  void load(const Match& match,
            RequestId request,
            const std::string& scope,
            std::span<const TokenId> tokens);

  // Has what is cached for `tokens` written, so that the end and the token `prompt_end` can be
  // gone on from. What the cache goes on to do does not matter.
  void save(const std::string& scope,
            std::span<const TokenId> tokens,
            const kv::SequenceCache& cache,
            Index prompt_end);
  // Gives back the memory of what waits to be written.
  void drop_waiting() { writer_.drop_waiting(); }
  // Waits until everything is written.
  void flush();

 private:
  struct Job {
    Match match;
    Loaded loaded;
  };
  void run();
  void tell_notes();

  SnapshotOptions options_;
  std::function<kv::SequenceCache()> make_cache_;
  std::function<void(Loaded loaded)> on_loaded_;
  kv::SnapshotStore store_;
  kv::SnapshotWriter writer_;
  std::mutex mutex_;  // of all below
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool is_stopping_ = false;
  std::thread reader_;
};

}  // namespace fathom::engine
