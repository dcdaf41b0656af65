// Names that nobody guesses.
#pragma once

#include <string>
#include <string_view>

namespace fathom::http {

// `prefix` and 24 hexadecimal digits from OpenSSL's random numbers.
std::string random_token(std::string_view prefix);

}  // namespace fathom::http
