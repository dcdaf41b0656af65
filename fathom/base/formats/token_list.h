// Token ids as a person writes them: 1,2,3.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::formats {

// Ids of a list separated by commas, with or without spaces. Throws InvalidArgument naming `source`
// and the position (from 0) of what is not a decimal integer.
std::vector<std::int64_t> parse_token_list(std::string_view text, const std::string& source);

}  // namespace fathom::formats
