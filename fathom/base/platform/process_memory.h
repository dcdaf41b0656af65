// What the operating system says about the memory of this process.
#pragma once

#include <optional>

#include "fathom/base/core/index.h"

namespace fathom::platform {

// The largest amount of memory that was resident at a time, mapped files included; nothing where
// the system does not say.
std::optional<Index> peak_resident_bytes();

}  // namespace fathom::platform
