#include "fathom/base/formats/text.h"

#include <cstddef>
#include <cstdint>

namespace fathom::formats {
namespace {

constexpr std::size_t kLongestQuote = 160;

std::uint8_t byte_at(std::string_view text, std::size_t position) {
  return static_cast<std::uint8_t>(text[position]);
}

// Length of the code point at `position`, 0 if it is malformed. The bounds of the second byte are
// what excludes overlong forms, surrogates and numbers above U+10FFFF.
std::size_t code_point_bytes(std::string_view text, std::size_t position) {
  const std::uint8_t lead = byte_at(text, position);
  if (lead < 0x80) {
    return 1;
  }
  if (lead < 0xc2 || lead > 0xf4) {
    return 0;
  }
  const std::size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (text.size() - position < length) {
    return 0;
  }
  const std::uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const std::uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (byte_at(text, position + 1) < low || byte_at(text, position + 1) > high) {
    return 0;
  }
  for (std::size_t i = 2; i < length; ++i) {
    if ((byte_at(text, position + i) & 0xc0) != 0x80) {
      return 0;
    }
  }
  return length;
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t position = 0; position < text.size();) {
    const std::size_t length = code_point_bytes(text, position);
    if (length == 0) {
      return false;
    }
    position += length;
  }
  return true;
}

std::string quote(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string result = "\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (result.size() > kLongestQuote) {
      return result + "...\" (" + std::to_string(text.size()) + " bytes)";
    }
    const std::uint8_t byte = byte_at(text, i);
    if (byte == '"' || byte == '\\') {
      result += '\\';
      result += text[i];
    } else if (byte >= 0x20 && byte < 0x7f) {
      result += text[i];
    } else {
      result += "\\x";
      result += kHex[byte >> 4];
      result += kHex[byte & 15];
    }
  }
  return result + '"';
}

}  // namespace fathom::formats
