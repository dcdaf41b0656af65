// A file that appears under its name only when it is complete.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "fathom/base/core/index.h"

namespace fathom::platform {

// Bytes go to a temporary file beside `path`, in any order and from any thread. Until commit(),
// destruction removes it. Every failure throws Io with the path and the system's reason.
class OutputFile {
 public:
  // Reserves num_bytes on the disk, so that a full one is found out before the work is done.
  OutputFile(std::filesystem::path path, Index num_bytes);
  ~OutputFile();
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // Where the bytes are until commit().
  const std::filesystem::path& temporary_path() const { return temporary_; }
  void write(Index offset, std::span<const std::byte> bytes) const;

  // Waits until the bytes are on the disk: a name given afterwards outlives a power cut.
  void sync() const;

  // Closes the file and gives it its name, over an older file.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

// Removes what killed processes left unfinished in a folder, in which nobody may be writing now.
void remove_unfinished_files(const std::filesystem::path& folder);

// Waits until the names in a folder are on the disk, those that were given, changed or removed. A
// file system that cannot do that is left to its own ways.
void sync_folder(const std::filesystem::path& folder);

}  // namespace fathom::platform
