// Typed access to one object of an untrusted JSON text.
//
// Every failure names file and key, what was expected and what was found. The reader remembers
// which keys were asked for, so that the rest can be reported as unknown.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/core/index.h"

namespace fathom::config {

struct IntegerRange {
  Index minimum;
  Index maximum;
};

struct NumberRange {
  double minimum;
  double maximum;
};

class JsonFields {
 public:
  // Parses a text whose root is an object; throws InvalidCheckpoint on bad JSON, a repeated key,
  // or nesting and size beyond what any config has.
  static JsonFields parse(std::string_view json, const std::string& file);

  const std::string& file() const { return file_; }
  bool has(std::string_view key) const;  // present and not null

  // Values that must be there.
  Index integer(std::string_view key, IntegerRange range);
  double number(std::string_view key, NumberRange range);
  bool boolean(std::string_view key);
  std::string text(std::string_view key);
  std::vector<Index> integers(std::string_view key, IntegerRange range);
  std::vector<std::string> texts(std::string_view key);

  // A nested object; nothing when the key is absent or null.
  std::optional<JsonFields> find_object(std::string_view key);

  bool is_list(std::string_view key) const;
  // An absent key is fine, another value is Unsupported.
  void require_text(std::string_view key, std::string_view expected);
  void require_boolean(std::string_view key, bool expected);
  void ignore(std::string_view key) { known_.emplace(key); }

  // Keys nobody asked for, as "key" or "parent.key", in the order of their names.
  std::vector<std::string> unknown_keys() const;
  std::vector<std::string> keys() const;

  // "config.json: rope_scaling.factor: expected ..., found ...".
  [[noreturn]] void fail_at(ErrorCode code, std::string_view key, const std::string& problem) const;

 private:
  JsonFields(std::shared_ptr<const nlohmann::json> object, std::string file, std::string prefix);
  const nlohmann::json& require(std::string_view key);
  Index to_integer(std::string_view key, const nlohmann::json& value, IntegerRange range) const;

  std::shared_ptr<const nlohmann::json> object_;
  std::string file_;
  std::string prefix_;  // "rope_scaling." in nested objects
  std::set<std::string, std::less<>> known_;
};

// A double as JSON writes it: the shortest text that reads back to it.
std::string to_text(double value);

}  // namespace fathom::config
