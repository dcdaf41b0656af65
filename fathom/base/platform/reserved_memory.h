// Address space without memory behind it until it is touched.
#pragma once

#include <cstddef>

#include "fathom/base/core/index.h"

namespace fathom::platform {

// A zeroed, writable range of at least `minimum_bytes`, as close to `wanted_bytes` as the system
// grants; data is null when it grants none.
struct ReservedMemory {
  std::byte* data = nullptr;
  Index num_bytes = 0;
};
ReservedMemory reserve_memory(Index wanted_bytes, Index minimum_bytes);
// A hint, before the range is touched.
void ask_for_huge_pages(const ReservedMemory& memory);
void release_memory(const ReservedMemory& memory);

}  // namespace fathom::platform
