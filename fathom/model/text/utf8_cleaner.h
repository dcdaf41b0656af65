// Bytes in any pieces to well-formed UTF-8: each maximal bad sequence becomes one U+FFFD.
#pragma once

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
  void clear() { held_.clear(); }

 private:
  std::string held_;  // the beginning of one character
};

}  // namespace fathom::text
