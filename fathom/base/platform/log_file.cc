#include "fathom/base/platform/log_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <sys/stat.h>

#include "fathom/base/platform/io_error.h"

namespace fathom::platform {
LogFile::LogFile(std::filesystem::path path, Index num_bytes)
    : path_(std::move(path)), num_bytes_(num_bytes) {
  descriptor_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) {
    fail_io("open", path_, errno);
  }
  struct stat status {};
  const bool is_known = fstat(descriptor_, &status) == 0;
  num_bytes_ = std::min(num_bytes, static_cast<Index>(status.st_size));
  if (!is_known || ftruncate(descriptor_, num_bytes_) != 0) {
    const int number = errno;
    close(descriptor_);
    fail_io("open", path_, number);
  }
}

LogFile::LogFile(LogFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      num_bytes_(other.num_bytes_) {}

LogFile::~LogFile() {
  if (descriptor_ >= 0) {
    close(descriptor_);
  }
}

void LogFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(descriptor_, bytes.data(), bytes.size(), num_bytes_);
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      fail_io("write", path_, written == 0 ? EIO : errno);
    }
    num_bytes_ += written;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void LogFile::sync() const {
  if (fsync(descriptor_) != 0) {
    fail_io("write", path_, errno);
  }
}

}  // namespace fathom::platform
