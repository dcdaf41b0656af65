#include "fathom/base/platform/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/io_error.h"

namespace fathom::platform {
namespace {

constexpr const char* kUnfinished = ".partial-";  // and the number of the process

// A reservation that the file system cannot make is no error: the writes will tell.
int reserve(int descriptor, Index num_bytes) {
  if (num_bytes == 0) {
    return 0;
  }
  const int number = posix_fallocate(descriptor, 0, num_bytes);
  return number == EOPNOTSUPP || number == EINVAL ? 0 : number;
}

}  // namespace

OutputFile::OutputFile(std::filesystem::path path, Index num_bytes)
    : path_(std::move(path)), temporary_(path_) {
  temporary_ += kUnfinished + std::to_string(getpid());
  descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) {
    fail_io("create", path_, errno);
  }
  const int number = reserve(descriptor_, num_bytes);
  if (number != 0) {
    close(descriptor_);
    unlink(temporary_.c_str());
    fail_io("write", path_, number);
  }
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) {
    close(descriptor_);
    unlink(temporary_.c_str());
  }
}

void OutputFile::write(Index offset, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(descriptor_, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      fail_io("write", path_, written == 0 ? EIO : errno);
    }
    offset += written;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void OutputFile::sync() const {
  if (fsync(descriptor_) != 0) {
    fail_io("write", path_, errno);
  }
}

void OutputFile::commit() {
  FATHOM_CHECK(descriptor_ >= 0);
  const int descriptor = std::exchange(descriptor_, -1);
  const bool is_closed = close(descriptor) == 0;
  if (!is_closed || rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int number = errno;
    unlink(temporary_.c_str());
    fail_io("write", path_, number);
  }
}

void remove_unfinished_files(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.is_regular_file() &&
        entry.path().filename().string().find(kUnfinished) != std::string::npos) {
      std::error_code ignored;
      std::filesystem::remove(entry.path(), ignored);
    }
  }
}

void sync_folder(const std::filesystem::path& folder) {
  // A bare name has no parent path: it is in the current folder.
  const char* const name = folder.empty() ? "." : folder.c_str();
  const int descriptor = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int number = descriptor < 0 || fsync(descriptor) != 0 ? errno : 0;
  if (descriptor >= 0) {
    close(descriptor);
  }
  if (number != 0 && number != EINVAL) {
    fail_io("write", folder, number);
  }
}

}  // namespace fathom::platform
