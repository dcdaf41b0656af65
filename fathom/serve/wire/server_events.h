// Framing of server-sent events (WHATWG HTML, "Server-sent events").
#pragma once

#include <string>
#include <string_view>

namespace fathom::wire {

// `data: DATA` and an empty line. The data is one line: JSON as printed here has no line breaks.
std::string data_event(std::string_view data);
// With `event: NAME` in front.
std::string named_event(std::string_view name, std::string_view data);
// A comment, which clients skip.
std::string comment_event(std::string_view text);

}  // namespace fathom::wire
