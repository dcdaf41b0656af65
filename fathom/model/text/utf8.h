// UTF-8 one step at a time: well-formed characters, maximal bad sequences, characters cut short.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fathom::text {

inline constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

struct Utf8Step {
  enum class Kind {
    Character,
    Bad,       // a maximal bad sequence: U+FFFD stands for all of it
    CutShort,  // the end of the text inside what may become a character
  };
  Kind kind;
  std::size_t num_bytes;
};

// What begins at the front of a text that is not empty.
Utf8Step utf8_step(std::string_view text);

// The text with U+FFFD for every maximal bad sequence, and for a last character cut short.
std::string repair_utf8(std::string_view text);

// The length of the character at `bytes` in well-formed text.
inline std::size_t utf8_length(const char* bytes) {
  const auto lead = static_cast<std::uint8_t>(*bytes);
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

// The code point at `bytes` in well-formed text.
inline std::uint32_t utf8_code(const char* bytes) {
  const auto at = [&](std::size_t i) { return std::uint32_t{static_cast<std::uint8_t>(bytes[i])}; };
  const std::uint32_t lead = at(0);
  if (lead < 0x80) {
    return lead;
  }
  if (lead < 0xe0) {
    return (lead & 0x1f) << 6 | (at(1) & 0x3f);
  }
  if (lead < 0xf0) {
    return (lead & 0x0f) << 12 | (at(1) & 0x3f) << 6 | (at(2) & 0x3f);
  }
  return (lead & 0x07) << 18 | (at(1) & 0x3f) << 12 | (at(2) & 0x3f) << 6 | (at(3) & 0x3f);
}

void append_utf8(std::uint32_t code, std::string& text);

}  // namespace fathom::text
