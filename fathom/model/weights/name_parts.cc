#include "fathom/model/weights/name_parts.h"

#include <charconv>

namespace fathom::weights {

bool consume(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) {
    return false;
  }
  text.remove_prefix(prefix.size());
  return true;
}

std::optional<Index> consume_number(std::string_view& text) {
  Index number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto length = static_cast<std::size_t>(end - text.data());
  if (status != std::errc() || number < 0 || length >= text.size() || text[length] != '.') {
    return std::nullopt;
  }
  text.remove_prefix(length + 1);
  return number;
}

}  // namespace fathom::weights
