#include "fathom/model/text/json_text.h"

#include <cstdint>

namespace fathom::text {
namespace {

bool is_space(char letter) {
  return letter == ' ' || letter == '\t' || letter == '\n' || letter == '\r';
}

bool is_digit(char letter) {
  return letter >= '0' && letter <= '9';
}

// The value of a hexadecimal digit, -1 for another letter.
int hex_value(char letter) {
  if (is_digit(letter)) {
    return letter - '0';
  }
  const char lower = static_cast<char>(letter | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Walks over one value without recursion: nesting is a stack of brackets.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::optional<JsonText> scan() {
    skip_space();
    const std::size_t begin = position_;
    JsonText result;
    while (true) {
      const std::optional<JsonKind> kind = scan_start(result);
      if (!kind) {
        return std::nullopt;
      }
      if (!is_first_known_) {
        result.kind = *kind;
        is_first_known_ = true;
      }
      if (is_open_) {  // a bracket was opened and its first value follows
        continue;
      }
      if (!scan_ends(result)) {
        return std::nullopt;
      }
      if (nesting_.empty()) {
        break;
      }
    }
    result.text = text_.substr(begin, position_ - begin);
    skip_space();
    return position_ == text_.size() ? std::optional(std::move(result)) : std::nullopt;
  }

 private:
  bool is_at(char letter) const { return position_ < text_.size() && text_[position_] == letter; }

  bool take(char letter) {
    const bool is_there = is_at(letter);
    position_ += is_there ? 1 : 0;
    return is_there;
  }

  void skip_space() {
    while (position_ < text_.size() && is_space(text_[position_])) {
      ++position_;
    }
  }

  // A scalar, an empty array or object, or the opening of one with is_open_ set.
  std::optional<JsonKind> scan_start(JsonText& result) {
    is_open_ = false;
    if (take('{')) {
      return scan_opened('{', '}', JsonKind::Object, result);
    }
    if (take('[')) {
      return scan_opened('[', ']', JsonKind::Array, result);
    }
    if (is_at('"')) {
      return scan_string() ? std::optional(JsonKind::String) : std::nullopt;
    }
    if (is_at('-') || (position_ < text_.size() && is_digit(text_[position_]))) {
      return scan_number();
    }
    if (take_word("true") || take_word("false")) {
      return JsonKind::Boolean;
    }
    return take_word("null") ? std::optional(JsonKind::Null) : std::nullopt;
  }

  std::optional<JsonKind> scan_opened(char open, char close, JsonKind kind, JsonText& result) {
    skip_space();
    if (take(close)) {
      return kind;
    }
    nesting_.push_back(open);
    is_open_ = true;
    if (open == '{' && !scan_key(result)) {
      return std::nullopt;
    }
    return kind;
  }

  // After a value: closing brackets, and a comma with the next key if there is one.
  bool scan_ends(JsonText& result) {
    while (!nesting_.empty()) {
      skip_space();
      const bool is_object = nesting_.back() == '{';
      if (take(',')) {
        skip_space();
        return !is_object || scan_key(result);
      }
      if (!take(is_object ? '}' : ']')) {
        return false;
      }
      nesting_.pop_back();
    }
    return true;
  }

  bool scan_key(JsonText& result) {
    const std::size_t begin = position_;
    if (!is_at('"') || !scan_string()) {
      return false;
    }
    if (nesting_.size() == 1) {
      result.keys.push_back(decode_json_string(text_.substr(begin, position_ - begin)));
    }
    skip_space();
    if (!take(':')) {
      return false;
    }
    skip_space();
    return true;
  }

  bool scan_string() {
    ++position_;
    while (position_ < text_.size()) {
      const char letter = text_[position_++];
      if (letter == '"') {
        return true;
      }
      if (static_cast<std::uint8_t>(letter) < 0x20 || (letter == '\\' && !scan_escape())) {
        return false;
      }
    }
    return false;
  }

  bool scan_escape() {
    if (position_ == text_.size()) {
      return false;
    }
    const char letter = text_[position_++];
    if (letter != 'u') {
      return std::string_view("\"\\/bfnrt").find(letter) != std::string_view::npos;
    }
    for (int i = 0; i < 4; ++i, ++position_) {
      if (position_ == text_.size() || hex_value(text_[position_]) < 0) {
        return false;
      }
    }
    return true;
  }

  std::optional<JsonKind> scan_number() {
    JsonKind kind = JsonKind::Integer;
    take('-');
    if (!take('0') && !scan_digits()) {
      return std::nullopt;
    }
    if (take('.')) {
      kind = JsonKind::Number;
      if (!scan_digits()) {
        return std::nullopt;
      }
    }
    if (take('e') || take('E')) {
      kind = JsonKind::Number;
      if (!take('+')) {
        take('-');
      }
      if (!scan_digits()) {
        return std::nullopt;
      }
    }
    return kind;
  }

  bool scan_digits() {
    const std::size_t begin = position_;
    while (position_ < text_.size() && is_digit(text_[position_])) {
      ++position_;
    }
    return position_ > begin;
  }

  bool take_word(std::string_view word) {
    const bool is_there = text_.substr(position_).starts_with(word);
    position_ += is_there ? word.size() : 0;
    return is_there;
  }

  std::string_view text_;
  std::size_t position_ = 0;
  std::string nesting_;
  bool is_open_ = false;
  bool is_first_known_ = false;
};

std::uint32_t hex_unit(std::string_view literal, std::size_t position) {
  std::uint32_t unit = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    unit = unit * 16 + static_cast<std::uint32_t>(hex_value(literal[position + i]));
  }
  return unit;
}

void append_code_point(std::uint32_t point, std::string& text) {
  const auto tail = [&](int shift) {
    text.push_back(static_cast<char>(0x80 | ((point >> shift) & 0x3f)));
  };
  if (point < 0x80) {
    text.push_back(static_cast<char>(point));
  } else if (point < 0x800) {
    text.push_back(static_cast<char>(0xc0 | (point >> 6)));
    tail(0);
  } else if (point < 0x10000) {
    text.push_back(static_cast<char>(0xe0 | (point >> 12)));
    tail(6);
    tail(0);
  } else {
    text.push_back(static_cast<char>(0xf0 | (point >> 18)));
    tail(12);
    tail(6);
    tail(0);
  }
}

// Appends what \uXXXX at `position` stands for; returns the position after it and its partner.
std::size_t append_unicode_escape(std::string_view literal,
                                  std::size_t position,
                                  std::string& text) {
  std::uint32_t point = hex_unit(literal, position + 2);
  position += 6;
  if (point >= 0xd800 && point < 0xdc00 && literal.substr(position).starts_with("\\u")) {
    const std::uint32_t low = hex_unit(literal, position + 2);
    if (low >= 0xdc00 && low < 0xe000) {
      point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
      position += 6;
    }
  }
  append_code_point(point >= 0xd800 && point < 0xe000 ? 0xfffd : point, text);
  return position;
}

}  // namespace

std::optional<JsonText> read_json(std::string_view text) {
  return Scanner(text).scan();
}

std::string decode_json_string(std::string_view literal) {
  constexpr std::string_view kLetters = "bfnrt";
  constexpr std::string_view kMeanings = "\b\f\n\r\t";
  std::string text;
  for (std::size_t i = 1; i + 1 < literal.size();) {
    if (literal[i] != '\\') {
      text.push_back(literal[i++]);
    } else if (literal[i + 1] == 'u') {
      i = append_unicode_escape(literal, i, text);
    } else {
      const std::size_t idx = kLetters.find(literal[i + 1]);
      text.push_back(idx == std::string_view::npos ? literal[i + 1] : kMeanings[idx]);
      i += 2;
    }
  }
  return text;
}

void append_json_escaped(std::string_view text, std::string& json) {
  constexpr std::string_view kHex = "0123456789abcdef";
  constexpr std::string_view kSpecial = "\"\\\b\f\n\r\t";
  constexpr std::string_view kEscapes = "\"\\bfnrt";
  for (const char letter : text) {
    const auto byte = static_cast<std::uint8_t>(letter);
    if (byte >= 0x20 && letter != '"' && letter != '\\') {
      json.push_back(letter);
      continue;
    }
    json.push_back('\\');
    const std::size_t idx = kSpecial.find(letter);
    if (idx != std::string_view::npos) {
      json.push_back(kEscapes[idx]);
    } else {
      json += "u00";
      json.push_back(kHex[byte >> 4]);
      json.push_back(kHex[byte & 15]);
    }
  }
}

std::string json_string(std::string_view text) {
  std::string json = "\"";
  append_json_escaped(text, json);
  json.push_back('"');
  return json;
}

}  // namespace fathom::text
