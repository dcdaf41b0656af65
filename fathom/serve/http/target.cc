#include "fathom/serve/http/target.h"

#include <algorithm>

#include "fathom/base/formats/text.h"
#include "fathom/serve/http/field_value.h"

namespace fathom::http {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  const char lower = to_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::optional<std::string> decode(std::string_view raw) {
  std::string decoded;
  decoded.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '%') {
      decoded.push_back(raw[i]);
      continue;
    }
    if (i + 2 >= raw.size() || hex_digit(raw[i + 1]) < 0 || hex_digit(raw[i + 2]) < 0) {
      return std::nullopt;
    }
    decoded.push_back(static_cast<char>(hex_digit(raw[i + 1]) * 16 + hex_digit(raw[i + 2])));
    i += 2;
  }
  return decoded;
}

bool has_dot_segment(std::string_view path) {
  std::size_t begin = 0;
  while (begin <= path.size()) {
    const std::size_t end = std::min(path.find_first_of("/\\", begin), path.size());
    const std::string_view segment = path.substr(begin, end - begin);
    if (segment == "." || segment == "..") {
      return true;
    }
    begin = end + 1;
  }
  return false;
}

// Proxies name the whole URL.
std::string_view without_origin(std::string_view raw) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (raw.size() > scheme.size() && equal_ignoring_case(raw.substr(0, scheme.size()), scheme)) {
      const std::size_t path = raw.find_first_of("/?#", scheme.size());
      return path == std::string_view::npos ? "/" : raw.substr(path);
    }
  }
  return raw;
}

}  // namespace

std::optional<Target> parse_target(std::string_view raw) {
  raw = without_origin(raw);
  const std::size_t mark = std::min(raw.find('?'), raw.size());
  std::optional<std::string> path = decode(raw.substr(0, mark));
  if (!path || !path->starts_with('/') || raw.find('#') != std::string_view::npos) {
    return std::nullopt;
  }
  const auto is_control = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  };
  const std::string_view query = raw.substr(std::min(mark + 1, raw.size()));
  if (std::any_of(path->begin(), path->end(), is_control) || !formats::is_utf8(*path) ||
      has_dot_segment(*path) || std::any_of(query.begin(), query.end(), is_control)) {
    return std::nullopt;
  }
  return Target{.path = std::move(*path), .query = std::string(query)};
}

}  // namespace fathom::http
