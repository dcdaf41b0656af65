#include "fathom/base/platform/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include <sys/stat.h>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/io_error.h"

namespace fathom::platform {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 18;

}  // namespace

AppendFile::AppendFile(std::filesystem::path path, Index num_bytes)
    : path_(std::move(path)), num_written_(num_bytes) {
  const int descriptor = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (descriptor < 0) {
    fail_io("open", path_, errno);
  }
  struct stat status {};
  const bool is_known = fstat(descriptor, &status) == 0;
  if (!is_known || status.st_size < num_bytes || ftruncate(descriptor, num_bytes) != 0) {
    const int number = errno;
    close(descriptor);
    if (is_known && status.st_size < num_bytes) {
      fail(ErrorCode::Io, path_.string(), ": found ", status.st_size, " bytes, expected at least ",
           num_bytes);
    }
    fail_io("open", path_, number);
  }
  descriptor_ = descriptor;
}

AppendFile::AppendFile(AppendFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      num_written_(other.num_written_),
      buffer_(std::move(other.buffer_)) {}

AppendFile::~AppendFile() {
  if (descriptor_ >= 0) {
    close(descriptor_);
  }
}

void AppendFile::append(std::span<const std::byte> bytes) {
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  if (buffer_.size() >= kBufferBytes) {
    flush();
  }
}

void AppendFile::flush() {
  std::span<const std::byte> rest(buffer_);
  while (!rest.empty()) {
    const ssize_t written = pwrite(descriptor_, rest.data(), rest.size(), num_written_);
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      const int number = written == 0 ? EIO : errno;
      buffer_.erase(buffer_.begin(), buffer_.end() - to_index(rest.size()));
      fail_io("write", path_, number);
    }
    num_written_ += written;
    rest = rest.subspan(static_cast<std::size_t>(written));
  }
  buffer_.clear();
}

void AppendFile::read(Index offset, std::span<std::byte> bytes) const {
  FATHOM_CHECK(offset >= 0 && offset + to_index(bytes.size()) <= num_bytes());
  while (!bytes.empty() && offset < num_written_) {
    const std::size_t count = std::min(bytes.size(), to_size(num_written_ - offset));
    const ssize_t found = pread(descriptor_, bytes.data(), count, offset);
    if (found < 0 && errno == EINTR) {
      continue;
    }
    if (found <= 0) {
      fail_io("read", path_, found == 0 ? EIO : errno);
    }
    offset += found;
    bytes = bytes.subspan(static_cast<std::size_t>(found));
  }
  if (!bytes.empty()) {  // else `offset` may lie before what is in the buffer
    std::copy_n(buffer_.begin() + (offset - num_written_), bytes.size(), bytes.begin());
  }
}

void AppendFile::sync() {
  flush();
  if (fsync(descriptor_) != 0) {
    fail_io("write", path_, errno);
  }
}

}  // namespace fathom::platform
