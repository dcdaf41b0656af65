#include "fathom/base/platform/mapped_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>

#include <sys/mman.h>
#include <sys/stat.h>

#include "fathom/base/core/error.h"
#include "fathom/base/core/index.h"

namespace fathom::platform {
namespace {

// What errno says; std::strerror may not be called by two threads at once.
std::string system_reason() {
  return std::generic_category().message(errno);
}

// Closes the descriptor on every way out; the mapping outlives it.
class Descriptor {
 public:
  explicit Descriptor(const std::filesystem::path& path)
      : value_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (value_ < 0) {
      fail(ErrorCode::Io, path.string(), ": cannot open: ", system_reason());
    }
  }
  ~Descriptor() { ::close(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path, const MapOptions& options) {
  const Descriptor descriptor(path);
  struct stat status {};
  if (::fstat(descriptor.get(), &status) != 0) {
    fail(ErrorCode::Io, path.string(), ": cannot stat: ", system_reason());
  }
  if (!S_ISREG(status.st_mode)) {
    fail(ErrorCode::Io, path.string(), ": expected a regular file");
  }
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ == 0) {
    return;
  }
  const int flags = MAP_PRIVATE | (options.populate ? MAP_POPULATE : 0);
  void* address = ::mmap(nullptr, size_, PROT_READ, flags, descriptor.get(), 0);
  if (address == MAP_FAILED) {
    fail(ErrorCode::Io, path.string(), ": cannot map ", size_, " bytes: ", system_reason());
  }
  if (options.huge_pages) {
    ::madvise(address, size_, MADV_HUGEPAGE);
  }
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    // munmap takes a pointer to non-const although it does not write.
    ::munmap(const_cast<std::byte*>(data_), size_);
  }
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void give_back_pages(const std::byte* data, Index num_bytes) {
  const Index page = ::sysconf(_SC_PAGESIZE);
  const auto begin = static_cast<Index>(reinterpret_cast<std::uintptr_t>(data));
  const Index first = ceil_div(begin, page) * page - begin;
  const Index end = (begin + num_bytes) / page * page - begin;
  if (first < end) {
    // The pages are a mapping's, which is read-only: nothing is written.
    ::madvise(const_cast<std::byte*>(data) + first, to_size(end - first), MADV_DONTNEED);
  }
}

}  // namespace fathom::platform
