#include "fathom/base/platform/reserved_memory.h"

#include <sys/mman.h>

namespace fathom::platform {

ReservedMemory reserve_memory(Index wanted_bytes, Index minimum_bytes) {
  for (Index num_bytes = wanted_bytes; num_bytes > 0 && num_bytes >= minimum_bytes;
       num_bytes /= 2) {
    void* address = ::mmap(nullptr, to_size(num_bytes), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address != MAP_FAILED) {
      return {static_cast<std::byte*>(address), num_bytes};
    }
  }
  return {};
}

void ask_for_huge_pages(const ReservedMemory& memory) {
  if (memory.data != nullptr) {
    ::madvise(memory.data, to_size(memory.num_bytes), MADV_HUGEPAGE);
  }
}

void release_memory(const ReservedMemory& memory) {
  if (memory.data != nullptr) {
    ::munmap(memory.data, to_size(memory.num_bytes));
  }
}

}  // namespace fathom::platform
