#include "fathom/model/text/json_value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/utf8.h"

namespace fathom::text {
namespace {

constexpr int kMaxDepth = 512;
constexpr std::string_view kHexDigits = "0123456789abcdef";

bool is_digit(char letter) {
  return letter >= '0' && letter <= '9';
}

// A double as Python's repr: the shortest digits that read back to it, with an exponent only
// below 1e-4 and from 1e16 on.
std::string print_double(double value) {
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::scientific)
                       .ptr;
  const std::string_view shortest(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  const std::size_t exponent_at = shortest.find('e');
  std::string digits;
  for (const char letter : shortest.substr(0, exponent_at)) {
    if (is_digit(letter)) {
      digits += letter;
    }
  }
  int exponent = 0;
  const char* const exponent_end = shortest.data() + shortest.size();
  const std::size_t first = exponent_at + (shortest[exponent_at + 1] == '+' ? 2 : 1);
  std::from_chars(shortest.data() + first, exponent_end, exponent);

  const std::string sign = shortest.front() == '-' ? "-" : "";
  if (exponent < -4 || exponent >= 16) {
    const int size = exponent < 0 ? -exponent : exponent;
    return sign + digits.substr(0, 1) + (digits.size() > 1 ? "." + digits.substr(1) : "") +
           (exponent < 0 ? "e-" : "e+") + (size < 10 ? "0" : "") + std::to_string(size);
  }
  if (exponent < 0) {
    return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  }
  const auto num_whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= num_whole) {
    return sign + digits + std::string(num_whole - digits.size(), '0') + ".0";
  }
  return sign + digits.substr(0, num_whole) + "." + digits.substr(num_whole);
}

// The first problem ends the parse; every step returns false from there on.
class Parser {
 public:
  explicit Parser(std::string_view json) : json_(json) {}

  bool parse(JsonValue& value) {
    if (!formats::is_utf8(json_)) {
      return stop("not UTF-8");
    }
    if (!parse_value(value, 0)) {
      return false;
    }
    skip_space();
    return position_ == json_.size() || stop("expected the end of the text");
  }

  const std::string& problem() const { return problem_; }
  std::size_t position() const { return position_; }

 private:
  bool stop(const std::string& problem) {
    problem_ = problem;
    return false;
  }

  bool at(char letter) const { return position_ < json_.size() && json_[position_] == letter; }
  bool at_digit() const { return position_ < json_.size() && is_digit(json_[position_]); }

  bool take(char letter) {
    const bool is_there = at(letter);
    position_ += is_there ? 1 : 0;
    return is_there;
  }

  void skip_space() {
    while (at(' ') || at('\t') || at('\n') || at('\r')) {
      ++position_;
    }
  }

  bool parse_value(JsonValue& value, int depth) {
    skip_space();
    if (at('{') || at('[')) {
      if (depth == kMaxDepth) {
        return stop("nested deeper than " + std::to_string(kMaxDepth) + " levels");
      }
      return at('{') ? parse_object(value, depth) : parse_array(value, depth);
    }
    if (at('"')) {
      value.kind = JsonValue::Kind::String;
      return parse_string(value.text);
    }
    if (at('-') || at_digit()) {
      value.kind = JsonValue::Kind::Number;
      return parse_number(value.text);
    }
    if (take_word("true") || take_word("false")) {
      value.kind = JsonValue::Kind::Boolean;
      value.boolean = json_[position_ - 2] == 'u';
      return true;
    }
    return take_word("null") || stop("expected a value");
  }

  bool take_word(std::string_view word) {
    const bool is_there = json_.substr(position_, word.size()) == word;
    position_ += is_there ? word.size() : 0;
    return is_there;
  }

  bool parse_array(JsonValue& value, int depth) {
    value.kind = JsonValue::Kind::Array;
    ++position_;
    skip_space();
    if (take(']')) {
      return true;
    }
    do {
      if (!parse_value(value.items.emplace_back(), depth + 1)) {
        return false;
      }
      skip_space();
    } while (take(','));
    return take(']') || stop("expected , or ]");
  }

  bool parse_object(JsonValue& value, int depth) {
    value.kind = JsonValue::Kind::Object;
    ++position_;
    skip_space();
    if (take('}')) {
      return true;
    }
    std::unordered_map<std::string, std::size_t> position_of;
    do {
      std::string key;
      JsonValue item;
      skip_space();
      if (!at('"')) {
        return stop("expected a key in double quotes");
      }
      if (!parse_string(key)) {
        return false;
      }
      skip_space();
      if (!take(':')) {
        return stop("expected :");
      }
      if (!parse_value(item, depth + 1)) {
        return false;
      }
      const auto [entry, is_first] = position_of.emplace(key, value.items.size());
      if (is_first) {
        value.keys.push_back(std::move(key));
        value.items.push_back(std::move(item));
      } else {
        value.items[entry->second] = std::move(item);
      }
      skip_space();
    } while (take(','));
    return take('}') || stop("expected , or }");
  }

  bool parse_string(std::string& text) {
    ++position_;
    while (position_ < json_.size()) {
      const char letter = json_[position_];
      if (letter == '"') {
        ++position_;
        return true;
      }
      if (static_cast<std::uint8_t>(letter) < 0x20) {
        return stop("a control character in a string");
      }
      if (letter != '\\') {
        text += letter;
        ++position_;
      } else if (!parse_escape(text)) {
        return false;
      }
    }
    return stop("a string without its end");
  }

  bool parse_escape(std::string& text) {
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
    const std::size_t start = position_++;
    if (take('u')) {
      return parse_code_point(text, start);
    }
    const std::size_t which =
        position_ < json_.size() ? kNames.find(json_[position_]) : std::string_view::npos;
    if (which == std::string_view::npos) {
      position_ = start;
      return stop("an unknown escape");
    }
    text += kValues[which];
    ++position_;
    return true;
  }

  // What follows \u: four hexadecimal digits, and for the first half of a surrogate pair the other.
  bool parse_code_point(std::string& text, std::size_t start) {
    std::uint32_t high = 0;
    std::uint32_t low = 0;
    if (!parse_hex(high)) {
      position_ = start;
      return stop("expected four hexadecimal digits");
    }
    if (high < 0xd800 || high > 0xdfff) {
      append_utf8(high, text);
      return true;
    }
    if (high > 0xdbff || !take('\\') || !take('u') || !parse_hex(low) || low < 0xdc00 ||
        low > 0xdfff) {
      position_ = start;
      return stop("a lone surrogate");
    }
    append_utf8(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), text);
    return true;
  }

  bool parse_hex(std::uint32_t& value) {
    const std::string_view digits = json_.substr(position_, 4);
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    position_ += digits.size();
    // from_chars takes a minus sign only for signed types.
    return result.ec == std::errc() && result.ptr == digits.data() + 4;
  }

  bool parse_number(std::string& text) {
    const std::size_t start = position_;
    take('-');
    const bool is_zero = take('0');
    if (!is_zero && !take_digits()) {
      return stop("expected a digit");
    }
    bool is_integer = true;
    if (take('.')) {
      is_integer = false;
      if (!take_digits()) {
        return stop("expected a digit");
      }
    }
    if (at('e') || at('E')) {
      is_integer = false;
      ++position_;
      if (!take('+')) {
        take('-');
      }
      if (!take_digits()) {
        return stop("expected a digit");
      }
    }
    const std::string_view digits = json_.substr(start, position_ - start);
    if (is_integer) {
      text = digits == "-0" ? "0" : digits;
      return true;
    }
    return print_fraction(digits, text) || stop_at(start, "a number beyond double");
  }

  bool take_digits() {
    const std::size_t start = position_;
    while (at_digit()) {
      ++position_;
    }
    return position_ > start;
  }

  bool stop_at(std::size_t position, const std::string& problem) {
    position_ = position;
    return stop(problem);
  }

  // False for what is too large; what is too small is zero, as in Python.
  static bool print_fraction(std::string_view digits, std::string& text) {
    double value = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (result.ec == std::errc::result_out_of_range) {
      if (decimal_exponent_is_positive(digits)) {
        return false;
      }
      value = digits.front() == '-' ? -0.0 : 0.0;
    }
    text = print_double(value);
    return true;
  }

  // Of a number far outside the range of double: whether it is huge rather than tiny.
  static bool decimal_exponent_is_positive(std::string_view digits) {
    const std::size_t exponent_at = digits.find_first_of("eE");
    if (exponent_at == std::string_view::npos) {
      return digits.find_first_of("123456789") < digits.find('.');
    }
    const std::string_view mantissa = digits.substr(0, exponent_at);
    const std::string_view exponent = digits.substr(exponent_at + 1);
    const bool is_negative = exponent.front() == '-';
    std::int64_t size = 0;
    const std::string_view number = exponent.substr(exponent.find_first_of("0123456789"));
    if (std::from_chars(number.data(), number.data() + number.size(), size).ec != std::errc()) {
      return !is_negative;  // longer than any mantissa can make up for
    }
    // The place of the first digit that counts, relative to the point.
    const std::size_t point = std::min(mantissa.find('.'), mantissa.size());
    const std::size_t first = mantissa.find_first_of("123456789");
    const auto place = static_cast<std::int64_t>(point) - static_cast<std::int64_t>(first);
    return is_negative ? size < place : -size < place;  // a sum can leave 64 bits
  }

  std::string_view json_;
  std::size_t position_ = 0;
  std::string problem_;
};

void print_string(const std::string& text, std::string& out) {
  constexpr std::string_view kEscaped = "\"\\\n\r\t\b\f";
  constexpr std::string_view kNames = "\"\\nrtbf";
  out += '"';
  for (const char letter : text) {
    const std::size_t which = kEscaped.find(letter);
    const auto byte = static_cast<std::uint8_t>(letter);
    if (which != std::string_view::npos) {
      out += '\\';
      out += kNames[which];
    } else if (byte < 0x20) {
      out += "\\u00";
      out += kHexDigits[byte >> 4];
      out += kHexDigits[byte & 15];
    } else {
      out += letter;
    }
  }
  out += '"';
}

void print_value(const JsonValue& value, std::string& out);

void print_items(const JsonValue& value, std::string& out) {
  const bool is_object = value.kind == JsonValue::Kind::Object;
  out += is_object ? '{' : '[';
  for (std::size_t i = 0; i < value.items.size(); ++i) {
    out += i == 0 ? "" : ", ";
    if (is_object) {
      print_string(value.keys[i], out);
      out += ": ";
    }
    print_value(value.items[i], out);
  }
  out += is_object ? '}' : ']';
}

void print_value(const JsonValue& value, std::string& out) {
  switch (value.kind) {
    case JsonValue::Kind::Null:
      out += "null";
      break;
    case JsonValue::Kind::Boolean:
      out += value.boolean ? "true" : "false";
      break;
    case JsonValue::Kind::Number:
      out += value.text;
      break;
    case JsonValue::Kind::String:
      print_string(value.text, out);
      break;
    case JsonValue::Kind::Array:
    case JsonValue::Kind::Object:
      print_items(value, out);
      break;
  }
}

}  // namespace

const JsonValue* JsonValue::find(std::string_view key) const {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i] == key) {
      return &items[i];
    }
  }
  return nullptr;
}

JsonValue parse_json(std::string_view json, const std::string& source) {
  JsonValue value;
  Parser parser(json);
  if (!parser.parse(value)) {
    fail(ErrorCode::InvalidArgument, source, ": not valid JSON at byte ", parser.position(), ": ",
         parser.problem());
  }
  return value;
}

std::optional<JsonValue> try_parse_json(std::string_view json) {
  JsonValue value;
  if (!Parser(json).parse(value)) {
    return std::nullopt;
  }
  return value;
}

std::string print_json(const JsonValue& value) {
  std::string out;
  print_value(value, out);
  return out;
}

}  // namespace fathom::text
