// A lock that at most one process holds, and that ends with it however it ends.
#pragma once

#include <filesystem>
#include <optional>

namespace fathom::platform {

// Held from try_lock() to destruction. The file stays: what counts is the lock that the system
// keeps on it, so a file left behind by a killed process refuses nobody.
class FileLock {
 public:
  // Makes the file where there is none. Nothing when another holder has the lock, in this process
  // or another. Throws Io where the file cannot be made or its file system has no locks.
  static std::optional<FileLock> try_lock(const std::filesystem::path& path);
  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

}  // namespace fathom::platform
