// Bytes in any pieces to well-formed UTF-8: each maximal bad sequence becomes one U+FFFD.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fathom::text {

class Utf8Cleaner {
 public:
  // Appends the characters that are complete; the rest is held back.
  void push(std::string_view bytes, std::string& text);
  // Appends U+FFFD for what is held back. The cleaner may be used again.
  void finish(std::string& text);
  // Forgets what is held back.
  void clear();

 private:
  void push_byte(char letter, std::string& text);

  std::string held_;
  int num_missing_ = 0;
  // Bounds of the next byte: what excludes overlong forms, surrogates and numbers above U+10FFFF.
  std::uint8_t low_ = 0x80;
  std::uint8_t high_ = 0xbf;
};

std::string clean_utf8(std::string_view bytes);

}  // namespace fathom::text
