// Writes snapshots on a thread of its own, so that nobody who computes waits for a disk.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fathom/model/kv/sequence_cache.h"
#include "fathom/model/kv/snapshot_store.h"

namespace fathom::kv {

class SnapshotWriter {
 public:
  struct Stats {
    std::uint64_t num_written = 0;
    std::uint64_t num_already_there = 0;
    std::uint64_t num_too_large = 0;
    std::uint64_t num_failed = 0;    // the disk did not take them; see take_notes
    std::uint64_t num_refused = 0;   // too many were waiting
    std::uint64_t num_replaced = 0;  // while waiting, by a sequence that goes on from them
    std::uint64_t num_dropped = 0;   // by drop_waiting and at the end
  };

  // The store must be there for as long as the writer.
  SnapshotWriter(SnapshotStore& store, Index max_waiting);
  // Ends the file that is being written; what still waits is dropped: flush() before keeps it.
  ~SnapshotWriter();
  SnapshotWriter(const SnapshotWriter&) = delete;
  SnapshotWriter& operator=(const SnapshotWriter&) = delete;

  // Takes a fork (SequenceCache::thinned) and returns at once: what it was forked from may go on.
  // Pages that it shares stay in memory until it is written or dropped. False when as many wait as
  // may: it is then not written.
  bool submit(SnapshotKey key, std::vector<std::int32_t> tokens, SequenceCache fork);

  // Waits until nothing waits and nothing is being written.
  void flush();
  // Gives back the pages of what waits, for a caller who is short of them.
  void drop_waiting();

  Stats stats() const;
  // What was amiss since the last call, the store's notes included; a line each.
  std::vector<std::string> take_notes();

 private:
  struct Job {
    SnapshotKey key;
    std::vector<std::int32_t> tokens;
    SequenceCache fork;
  };
  void run();
  void write(const Job& job);
  void finish(std::uint64_t Stats::*counter, const char* note);

  SnapshotStore& store_;
  const std::size_t max_waiting_;
  mutable std::mutex mutex_;  // of all below
  std::condition_variable changed_;
  std::deque<Job> waiting_;
  bool is_writing_ = false;
  bool is_stopping_ = false;
  Stats stats_;
  std::vector<std::string> notes_;
  std::thread thread_;
};

}  // namespace fathom::kv
