// Taking names of tensors apart, for the name maps of families.
#pragma once

#include <optional>
#include <string_view>

#include "fathom/base/core/index.h"

namespace fathom::weights {

// Removes the prefix if it is there, and says whether.
bool consume(std::string_view& text, std::string_view prefix);

// A number followed by a dot; both are removed. Otherwise the text stays as it is.
std::optional<Index> consume_number(std::string_view& text);

}  // namespace fathom::weights
