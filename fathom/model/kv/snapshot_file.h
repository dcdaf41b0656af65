// Writing the cache of a sequence to a file and reading it back, bit for bit.
//
// A file appears under its name only when all of it is on the disk; every part of it carries a
// checksum, which is compared before the part is used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "fathom/base/platform/input_file.h"
#include "fathom/model/kv/sequence_cache.h"
#include "fathom/model/kv/snapshot_format.h"

namespace fathom::kv {

// A cache about to be written. It must stay as it is meanwhile; a fork does.
class SnapshotImage {
 public:
  // Tokens are those the cache holds, at least one. Throws InvalidArgument for a key that is too
  // long.
  SnapshotImage(SnapshotKey key, std::vector<std::int32_t> tokens, const SequenceCache& cache);

  const SnapshotHead& head() const { return head_; }
  Index file_bytes() const { return file_bytes_; }

  // Returns when the file is on the disk under its name. Throws Io; what was there stays.
  void write(const std::filesystem::path& path) const;

 private:
  const SequenceCache& cache_;
  SnapshotHead head_;
  std::vector<std::byte> head_bytes_;
  Index table_bytes_ = 0;
  Index file_bytes_ = 0;
};

class SnapshotFile {
 public:
  // Reads and checks all but the page table and the rows. Throws Io, InvalidArgument for a file
  // that is damaged or no snapshot, Unsupported for one of another version.
  explicit SnapshotFile(const std::filesystem::path& path);

  const SnapshotHead& head() const { return head_; }
  Index file_bytes() const { return file_.num_bytes(); }

  // Appends the first `num_tokens`, a resumable position, to a cache without tokens. Throws what
  // the constructor does, InvalidArgument for a cache of another layout, OutOfMemory; the cache
  // then is as before.
  void restore(Index num_tokens, SequenceCache& cache) const;

 private:
  PageTable read_table() const;
  void check_layout(const SequenceCache& cache) const;
  void read_rows(const PageTable& table, Index num_tokens, SequenceCache& cache) const;
  Index read_stream(const PageTable::Stream& pages,
                    Index stream_idx,
                    Index offset,
                    Index num_tokens,
                    SequenceCache& cache) const;

  platform::InputFile file_;
  SnapshotPrelude prelude_;
  SnapshotHead head_;
};

}  // namespace fathom::kv
