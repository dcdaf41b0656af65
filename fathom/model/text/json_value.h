// JSON that prints as Python's json.dumps(value, ensure_ascii=False) would: what models were
// trained on (text specification 2.4).
//
// A tree of our own, because it keeps what a JSON library drops: the order of keys, integers
// longer than 64 bits, and the difference between 1 and 1.0.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::text {

struct JsonValue {
  enum class Kind { Null, Boolean, Number, String, Array, Object };

  Kind kind = Kind::Null;
  bool boolean = false;
  std::string text;               // String: its UTF-8; Number: as it is printed
  std::vector<std::string> keys;  // Object: the name of each of `items`, each name once
  std::vector<JsonValue> items;   // Array, Object

  // An object's member; null when it has none of that name, or is no object.
  const JsonValue* find(std::string_view key) const;
};

// Strict JSON (no NaN, no lone surrogate, no number beyond double), nested at most 512 deep. Of a
// repeated key the last value counts, at the first position. Throws InvalidArgument naming
// `source` and the byte.
JsonValue parse_json(std::string_view json, const std::string& source);

// The same, or nothing where parse_json would throw.
std::optional<JsonValue> try_parse_json(std::string_view json);

std::string print_json(const JsonValue& value);

}  // namespace fathom::text
