// What the operating system says about the memory of this process and of the machine.
#pragma once

#include <optional>

#include "fathom/base/core/index.h"

namespace fathom::platform {

// The largest amount of memory that was resident at a time, mapped files included; nothing where
// the system does not say.
std::optional<Index> peak_resident_bytes();
// The peak counts from here on; says whether the system does that.
bool reset_peak_resident();

// Memory that was freed and that the allocator keeps for later goes back to the system.
void give_back_free_memory();

// What is resident at the moment: memory of the process's own, and pages of mapped files.
struct ResidentBytes {
  Index anonymous = 0;
  Index file_mapped = 0;
};
std::optional<ResidentBytes> resident_bytes();

// What the machine can still hand out without swapping.
std::optional<Index> available_memory_bytes();

// What the machine has altogether, but for what its firmware keeps.
std::optional<Index> total_memory_bytes();

}  // namespace fathom::platform
