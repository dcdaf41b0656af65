#include "fathom/model/text/json_field.h"

#include <charconv>
#include <cstdlib>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

namespace fathom::text {
namespace {

constexpr std::size_t kMostDigitsShown = 40;

std::string found(const JsonValue* value) {
  if (value == nullptr) {
    return "nothing";
  }
  switch (value->kind) {
    case JsonValue::Kind::Null:
      return "null";
    case JsonValue::Kind::Boolean:
      return value->boolean ? "true" : "false";
    case JsonValue::Kind::Number:
      return value->text.size() > kMostDigitsShown ? value->text.substr(0, kMostDigitsShown) + "..."
                                                   : value->text;
    case JsonValue::Kind::String:
      return formats::quote(value->text);
    case JsonValue::Kind::Array:
      return "a list";
    case JsonValue::Kind::Object:
      return "an object";
  }
  return "";
}

std::string range(const auto& lowest, const auto& highest) {
  std::ostringstream text;
  text << lowest << " to " << highest;
  return text.str();
}

}  // namespace

void JsonField::refuse(std::string_view expected) const {
  fail(ErrorCode::InvalidArgument, path_.empty() ? "request body" : path_, ": expected ", expected,
       ", found ", found(value_));
}

void JsonField::require(Kind kind, std::string_view expected) const {
  if (!is(kind)) {
    refuse(expected);
  }
}

JsonField JsonField::member(std::string_view key) const {
  return JsonField(value_ == nullptr ? nullptr : value_->find(key),
                   path_.empty() ? std::string(key) : path_ + "." + std::string(key));
}

JsonField JsonField::item(Index i) const {
  return JsonField(&value_->items[to_size(i)], path_ + "[" + std::to_string(i) + "]");
}

bool JsonField::has_items() const {
  if (is_absent()) {
    return false;
  }
  require(Kind::Array, "a list");
  return !value_->items.empty();
}

JsonField JsonField::object() const {
  if (is_absent()) {
    return JsonField(nullptr, path_);
  }
  require(Kind::Object, "an object");
  return *this;
}

std::string JsonField::text() const {
  require(Kind::String, "a string");
  return value_->text;
}

std::string JsonField::text_or(std::string_view absent) const {
  return is_absent() ? std::string(absent) : text();
}

bool JsonField::boolean_or(bool absent) const {
  if (is_absent()) {
    return absent;
  }
  require(Kind::Boolean, "true or false");
  return value_->boolean;
}

std::optional<double> JsonField::number(double lowest, double highest) const {
  if (is_absent()) {
    return std::nullopt;
  }
  const std::string expected = "a number from " + range(lowest, highest);
  require(Kind::Number, expected);
  const double value = std::strtod(value_->text.c_str(), nullptr);
  if (!(value >= lowest && value <= highest)) {
    refuse(expected);
  }
  return value;
}

std::optional<std::int64_t> JsonField::integer(std::int64_t lowest, std::int64_t highest) const {
  if (is_absent()) {
    return std::nullopt;
  }
  const std::string expected = "an integer from " + range(lowest, highest);
  require(Kind::Number, expected);
  const char* const end = value_->text.data() + value_->text.size();
  std::int64_t value = 0;
  const auto parsed = std::from_chars(value_->text.data(), end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end || value < lowest || value > highest) {
    refuse(expected);
  }
  return value;
}

}  // namespace fathom::text
