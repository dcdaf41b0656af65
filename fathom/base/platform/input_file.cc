#include "fathom/base/platform/input_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <sys/stat.h>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/io_error.h"

namespace fathom::platform {
InputFile::InputFile(std::filesystem::path path) : path_(std::move(path)) {
  // Without O_NONBLOCK, opening a named pipe waits for somebody to write to it.
  descriptor_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (descriptor_ < 0) {
    fail_io("open", path_, errno);
  }
  struct stat status {};
  const int number = fstat(descriptor_, &status) == 0 ? 0 : errno;
  if (number != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor_);
    if (number != 0) {
      fail_io("open", path_, number);
    }
    fail(ErrorCode::Io, "open ", path_.string(), ": expected a regular file");
  }
  num_bytes_ = status.st_size;
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      num_bytes_(other.num_bytes_) {}

InputFile::~InputFile() {
  if (descriptor_ >= 0) {
    close(descriptor_);
  }
}

void InputFile::read(Index offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t count = pread(descriptor_, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      fail_io("read", path_, errno);
    }
    if (count == 0) {
      fail(ErrorCode::Io, "read ", path_.string(), ": ends at byte ", offset, ", expected ",
           bytes.size(), " more");
    }
    offset += count;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

}  // namespace fathom::platform
