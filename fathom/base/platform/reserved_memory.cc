#include "fathom/base/platform/reserved_memory.h"

#include <sys/mman.h>

#include "fathom/base/core/error.h"

namespace fathom::platform {

ReservedMemory::ReservedMemory(std::string_view purpose, Index wanted_bytes, Index minimum_bytes) {
  for (Index num_bytes = wanted_bytes; num_bytes > 0 && num_bytes >= minimum_bytes;
       num_bytes /= 2) {
    void* address = ::mmap(nullptr, to_size(num_bytes), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address != MAP_FAILED) {
      data_ = {static_cast<std::byte*>(address), UnmapMemory{num_bytes}};
      return;
    }
  }
  if (minimum_bytes > 0) {
    fail(ErrorCode::OutOfMemory, purpose, ": the system does not grant ", minimum_bytes, " bytes");
  }
}

void ReservedMemory::ask_for_huge_pages() const {
  if (data_) {
    ::madvise(data_.get(), to_size(num_bytes()), MADV_HUGEPAGE);
  }
}

void UnmapMemory::operator()(std::byte* data) const {
  ::munmap(data, to_size(num_bytes));
}

}  // namespace fathom::platform
