// A folder of snapshots within a budget, kept across restarts: the least recently used go first.
//
// The folder belongs to one process at a time. Files that are not snapshots by their name are never
// touched. Nothing that lies in the folder refuses the start; what is amiss is noted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fathom/base/platform/file_lock.h"
#include "fathom/model/kv/sequence_cache.h"
#include "fathom/model/kv/snapshot_file.h"

namespace fathom::kv {

// Safe to call from several threads; one save runs at a time, and files are read and written while
// others search.
class SnapshotStore {
 public:
  // A stored sequence and how many tokens of it are wanted.
  struct Match {
    std::uint64_t id = 0;
    Index num_tokens = 0;
  };
  enum class SaveResult {
    Written,
    AlreadyThere,  // a stored sequence goes on from here
    TooLarge,      // for the whole budget
  };

  // Makes the folder where there is none, and reads the heads of what it holds; more than the
  // budget is removed. Throws Io for a folder that cannot be made, read or locked, InvalidArgument
  // for a negative budget and for a folder that another process uses.
  SnapshotStore(std::filesystem::path folder, Index budget_bytes);

  // The longest resumable prefix that a stored sequence shares with `tokens`, of any length; of
  // equals, the smallest file's. Nothing where there is none.
  std::optional<Match> find(const SnapshotKey& key, std::span<const std::int32_t> tokens) const;

  // Appends what was found to a cache without tokens. False where the snapshot has been evicted, or
  // was found damaged, which is noted; the cache then is still empty. Throws OutOfMemory.
  bool load(const Match& match, SequenceCache& cache);

  // Writes the cache of a sequence; it must not change meanwhile. What it replaces, sequences that
  // it holds as resumable prefixes, is removed. Room is made before, so that the files never take
  // more than the budget. Throws Io when the disk does not take it; the others then are usable as
  // before.
  SaveResult save(const SnapshotKey& key,
                  std::span<const std::int32_t> tokens,
                  const SequenceCache& cache);

  Index used_bytes() const;
  Index num_snapshots() const;  // that can be found
  // What was amiss since the last call, a line each: damaged, unfinished or foreign files.
  std::vector<std::string> take_notes();

 private:
  struct Entry {
    std::uint64_t id;
    std::filesystem::path path;
    Index file_bytes;
    std::uint64_t last_use;
    std::shared_ptr<const SnapshotHead> head;  // null: counts and is evicted, but is never found
  };

  void scan();
  void scan_file(const std::filesystem::path& path, std::vector<Entry>& found);
  void note(std::string line);
  void touch(Entry& entry);
  bool is_covered(const SnapshotHead& head);
  void make_room(const SnapshotHead* head, Index num_bytes);
  void add_written(const SnapshotImage& image, const std::filesystem::path& path);
  void remove(std::vector<Entry>::iterator entry);
  void drop_unusable(std::uint64_t id, const Error& error);

  std::filesystem::path folder_;
  Index budget_bytes_;
  platform::FileLock folder_lock_;
  std::mutex save_mutex_;     // taken before mutex_
  mutable std::mutex mutex_;  // of all below
  std::vector<Entry> entries_;
  Index used_bytes_ = 0;
  std::uint64_t next_id_ = 0;
  std::uint64_t next_use_ = 0;
  std::vector<std::string> notes_;
};

}  // namespace fathom::kv
