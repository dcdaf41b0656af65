// Strings that come out of untrusted files: checking them and showing them in messages.
#pragma once

#include <string>
#include <string_view>

#include "fathom/base/core/index.h"

namespace fathom::formats {

// Well-formed UTF-8: no overlong form, no surrogate, nothing above U+10FFFF.
bool is_utf8(std::string_view text);

// The text with U+FFFD for every maximal sequence that is none; `num_replaced` counts them.
std::string replace_bad_utf8(std::string_view text, Index& num_replaced);

// In double quotes, on one line, at most about 160 bytes: what is not printable ASCII is escaped,
// so that a hostile name can neither flood nor forge a log.
std::string quote(std::string_view text);

}  // namespace fathom::formats
