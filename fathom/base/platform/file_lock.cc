#include "fathom/base/platform/file_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include <sys/file.h>

#include "fathom/base/core/error.h"

namespace fathom::platform {

std::optional<FileLock> FileLock::try_lock(const std::filesystem::path& path) {
  const auto refuse = [&](int number) {
    fail(ErrorCode::Io, "lock ", path.string(), ": ",
         std::error_code(number, std::generic_category()).message());
  };
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (descriptor < 0) {
    refuse(errno);
  }
  FileLock lock(descriptor);
  int result = 0;
  do {
    result = flock(descriptor, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0) {
    return lock;
  }
  if (errno != EWOULDBLOCK) {
    refuse(errno);
  }
  return std::nullopt;
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock::~FileLock() {
  if (descriptor_ >= 0) {
    close(descriptor_);
  }
}

}  // namespace fathom::platform
