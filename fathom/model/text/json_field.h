// A value of a JSON document together with where it stands, for readers that name what is wrong:
// `messages[3].role: expected a string, found 7`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fathom/base/core/index.h"
#include "fathom/model/text/json_value.h"

namespace fathom::text {

// Absent and null are the same, except in what errors show. The value must outlive the field.
// All that refuse throw InvalidArgument.
class JsonField {
 public:
  using Kind = JsonValue::Kind;

  // The document's root has an empty path.
  explicit JsonField(const JsonValue* value, std::string path = {})
      : value_(value), path_(std::move(path)) {}

  bool is_absent() const { return value_ == nullptr || value_->kind == Kind::Null; }
  bool is(Kind kind) const { return value_ != nullptr && value_->kind == kind; }
  const JsonValue& value() const { return *value_; }
  const std::string& path() const { return path_; }

  [[noreturn]] void refuse(std::string_view expected) const;
  void require(Kind kind, std::string_view expected) const;

  JsonField member(std::string_view key) const;
  Index size() const { return to_index(value_->items.size()); }
  JsonField item(Index i) const;

  // False for an absent list. Refuses what is no list.
  bool has_items() const;
  // An object that may be absent; its members are absent then.
  JsonField object() const;

  std::string text() const;
  std::string text_or(std::string_view absent) const;
  bool boolean_or(bool absent) const;
  // Nothing where absent. Refuse a number outside [lowest, highest], and a fraction.
  std::optional<double> number(double lowest, double highest) const;
  std::optional<std::int64_t> integer(std::int64_t lowest, std::int64_t highest) const;

 private:
  const JsonValue* value_;
  std::string path_;
};

}  // namespace fathom::text
