// A file that grows at its end and is read anywhere: a long list kept on disk instead of in memory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::platform {

// Appended bytes wait in a buffer; they can be read at once and are on the disk after sync(). Every
// failure throws Io with the path and the system's reason.
class AppendFile {
 public:
  // Goes on with the first `num_bytes` of a file and forgets the rest of it; makes the file where
  // there is none and num_bytes is 0. Throws Io for a file that is shorter.
  AppendFile(std::filesystem::path path, Index num_bytes);
  ~AppendFile();
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&&) = delete;
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  Index num_bytes() const { return num_written_ + to_index(buffer_.size()); }
  void append(std::span<const std::byte> bytes);
  // Fills `bytes` from `offset` on, which must have been appended.
  void read(Index offset, std::span<std::byte> bytes) const;
  void sync();

 private:
  void flush();

  std::filesystem::path path_;
  int descriptor_ = -1;
  Index num_written_ = 0;
  std::vector<std::byte> buffer_;
};

}  // namespace fathom::platform
