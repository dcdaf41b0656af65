// JSON as a model writes it into an argument: judged strictly and passed on verbatim.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::text {

enum class JsonKind { Null, Boolean, Integer, Number, String, Array, Object };

struct JsonText {
  JsonKind kind = JsonKind::Null;  // Integer: no fraction and no exponent
  std::string_view text;           // without outer white space
  std::vector<std::string> keys;   // of an object, in order, decoded; repeated ones too
};

// What a UTF-8 text says when it is one JSON value by RFC 8259 and nothing else: no NaN, no
// comment, no trailing comma. Linear, of any depth.
std::optional<JsonText> read_json(std::string_view text);

// The text that a JSON string literal, quotes included, stands for. A lone surrogate is U+FFFD.
std::string decode_json_string(std::string_view literal);

// Appends UTF-8 text as the inside of a JSON string: what must be escaped is, nothing else.
void append_json_escaped(std::string_view text, std::string& json);
// The same with quotes.
std::string json_string(std::string_view text);

}  // namespace fathom::text
