#include "fathom/model/text/utf8_cleaner.h"

namespace fathom::text {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

}  // namespace

void Utf8Cleaner::push(std::string_view bytes, std::string& text) {
  for (const char letter : bytes) {
    if (num_missing_ == 0 && static_cast<std::uint8_t>(letter) < 0x80) {
      text.push_back(letter);
    } else {
      push_byte(letter, text);
    }
  }
}

void Utf8Cleaner::push_byte(char letter, std::string& text) {
  const auto byte = static_cast<std::uint8_t>(letter);
  if (num_missing_ > 0) {
    if (byte >= low_ && byte <= high_) {
      held_.push_back(letter);
      low_ = 0x80;
      high_ = 0xbf;
      if (--num_missing_ == 0) {
        text += held_;
        held_.clear();
      }
      return;
    }
    finish(text);
  }
  if (byte < 0x80) {
    text.push_back(letter);
  } else if (byte < 0xc2 || byte > 0xf4) {
    text += kReplacement;
  } else {
    held_.assign(1, letter);
    num_missing_ = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    low_ = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    high_ = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
  }
}

void Utf8Cleaner::finish(std::string& text) {
  if (num_missing_ > 0) {
    text += kReplacement;
  }
  clear();
}

void Utf8Cleaner::clear() {
  held_.clear();
  num_missing_ = 0;
  low_ = 0x80;
  high_ = 0xbf;
}

std::string clean_utf8(std::string_view bytes) {
  Utf8Cleaner cleaner;
  std::string text;
  text.reserve(bytes.size());
  cleaner.push(bytes, text);
  cleaner.finish(text);
  return text;
}

}  // namespace fathom::text
