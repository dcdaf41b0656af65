// Numbers as people read them.
#pragma once

#include <string>

#include "fathom/base/core/index.h"

namespace fathom::formats {

std::string grouped(Index number);  // 1234567 as 1,234,567

}  // namespace fathom::formats
