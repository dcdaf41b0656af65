// The request target (RFC 9112, 3.2): which path and query a client asks for.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fathom::http {

struct Target {
  std::string
      path;  // decoded; begins with '/', UTF-8, no control character, no "." or ".." segment
  std::string query;  // raw, without the '?'
};

// "/path?query" or "http://host/path?query"; nothing for what is none, for a bad escape or for a
// path that could mean another one: such a path is refused, never repaired.
std::optional<Target> parse_target(std::string_view raw);

}  // namespace fathom::http
