// A file that grows at its end: a log whose lines outlive the process that wrote them.
#pragma once

#include <filesystem>
#include <string_view>

#include "fathom/base/core/index.h"

namespace fathom::platform {

// Every failure throws Io with the path and the system's reason.
class LogFile {
 public:
  // Makes the file where there is none, and cuts it to `num_bytes` where it is longer.
  LogFile(std::filesystem::path path, Index num_bytes);
  ~LogFile();
  LogFile(LogFile&& other) noexcept;
  LogFile& operator=(LogFile&&) = delete;
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  Index num_bytes() const { return num_bytes_; }
  // Handed to the system at once: a killed process loses nothing of it.
  void append(std::string_view bytes);
  // Waits until it is on the disk.
  void sync() const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  Index num_bytes_ = 0;
};

}  // namespace fathom::platform
