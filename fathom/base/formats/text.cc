#include "fathom/base/formats/text.h"

#include <cstddef>
#include <cstdint>

namespace fathom::formats {
namespace {

constexpr std::size_t kLongestQuote = 160;

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

std::uint8_t byte_at(std::string_view text, std::size_t position) {
  return static_cast<std::uint8_t>(text[position]);
}

// What begins at a position: a code point, or the longest beginning of one that goes wrong.
struct Sequence {
  std::size_t length;
  bool is_code_point;
};

// The bounds of the second byte are what excludes overlong forms, surrogates and numbers above
// U+10FFFF.
Sequence sequence_at(std::string_view text, std::size_t position) {
  const std::uint8_t lead = byte_at(text, position);
  if (lead < 0x80) {
    return {1, true};
  }
  if (lead < 0xc2 || lead > 0xf4) {
    return {1, false};
  }
  const std::size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  for (std::size_t i = 1; i < length; ++i) {
    if (position + i == text.size()) {
      return {i, false};
    }
    const std::uint8_t low = i > 1 ? 0x80 : lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const std::uint8_t high = i > 1 ? 0xbf : lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (byte_at(text, position + i) < low || byte_at(text, position + i) > high) {
      return {i, false};
    }
  }
  return {length, true};
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t position = 0; position < text.size();) {
    const Sequence sequence = sequence_at(text, position);
    if (!sequence.is_code_point) {
      return false;
    }
    position += sequence.length;
  }
  return true;
}

std::string replace_bad_utf8(std::string_view text, Index& num_replaced) {
  std::string result;
  num_replaced = 0;
  for (std::size_t position = 0; position < text.size();) {
    const Sequence sequence = sequence_at(text, position);
    result += sequence.is_code_point ? text.substr(position, sequence.length) : kReplacement;
    num_replaced += sequence.is_code_point ? 0 : 1;
    position += sequence.length;
  }
  return result;
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
