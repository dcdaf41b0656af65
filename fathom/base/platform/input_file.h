// A file read piece by piece: unlike a mapping, one that shrinks meanwhile is an error, not a
// signal.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "fathom/base/core/index.h"

namespace fathom::platform {

// Every failure throws Io with the path and the system's reason. An open file stays readable when
// its name is removed.
class InputFile {
 public:
  // Regular files only; symbolic links are not followed.
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  Index num_bytes() const { return num_bytes_; }  // when it was opened
  // Fills `bytes` from `offset` on. Throws Io where the file ends before. Safe to call from several
  // threads.
  void read(Index offset, std::span<std::byte> bytes) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  Index num_bytes_ = 0;
};

}  // namespace fathom::platform
