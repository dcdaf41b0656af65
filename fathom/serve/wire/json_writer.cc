#include "fathom/serve/wire/json_writer.h"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "fathom/base/formats/text.h"
#include "fathom/model/text/json_text.h"
#include "fathom/model/text/utf8.h"

namespace fathom::wire {

void JsonWriter::separate() {
  if (needs_comma_) {
    json_.push_back(',');
  }
  needs_comma_ = true;
}

JsonWriter& JsonWriter::begin_object() {
  separate();
  json_.push_back('{');
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::end_object() {
  json_.push_back('}');
  needs_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::begin_array() {
  separate();
  json_.push_back('[');
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::end_array() {
  json_.push_back(']');
  needs_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  value(name);
  json_.push_back(':');
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  json_.push_back('"');
  if (formats::is_utf8(text)) {
    text::append_json_escaped(text, json_);
  } else {
    text::append_json_escaped(text::repair_utf8(text), json_);
  }
  json_.push_back('"');
  return *this;
}

JsonWriter& JsonWriter::value(double number) {
  if (!std::isfinite(number)) {
    return null();
  }
  separate();
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  json_.append(digits.data(), end);
  return *this;
}

JsonWriter& JsonWriter::integer(std::int64_t number) {
  separate();
  json_ += std::to_string(number);
  return *this;
}

JsonWriter& JsonWriter::null() {
  return raw("null");
}

JsonWriter& JsonWriter::raw(std::string_view json) {
  separate();
  json_.append(json);
  return *this;
}

std::string JsonWriter::take() {
  needs_comma_ = false;
  return std::exchange(json_, {});
}

}  // namespace fathom::wire
