// The arguments of one tool call as JSON text, written while its parameters arrive.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "fathom/base/core/index.h"
#include "fathom/model/text/tool_schema.h"
#include "fathom/model/text/utf8_cleaner.h"

namespace fathom::text {

// Every function appends what may be shown already. Text specification 2.7, P2, P3, P11 and the
// table of malformed output: bad JSON becomes a string, strings become what the schema wants where
// they parse as it, of repeated keys the first stays, one parameter that wraps all is unwrapped.
class CallArguments {
 public:
  // `schema` is null for an undeclared tool; it must outlive this.
  explicit CallArguments(const ToolSchema* schema = nullptr) : schema_(schema) {}

  // `is_string`: the value is plain text, otherwise JSON.
  void begin_parameter(std::string_view key, bool is_string, std::string& json);
  void add_value(std::string_view bytes, std::string& json);
  void end_parameter(std::string& json);
  // After the last parameter.
  void finish(std::string& json);

 private:
  enum class Value { None, Streamed, Buffered, Dropped };

  void write_key(std::string_view key, std::string& json);
  // The held back parameter, which might have wrapped all arguments, as an ordinary one.
  void write_candidate(std::string& json);
  std::string buffered_value(bool is_string) const;
  // The object that a wrapping parameter holds; empty if it is none that fits the schema.
  std::string unwrapped() const;
  bool fits(std::string_view text, std::string& object) const;

  const ToolSchema* schema_;
  std::set<std::string, std::less<>> keys_;
  std::string key_;     // of the parameter that is open or held back
  std::string buffer_;  // its value
  bool is_string_ = false;
  bool is_candidate_ = false;
  bool has_written_ = false;
  Value value_ = Value::None;
  Utf8Cleaner cleaner_;
};

}  // namespace fathom::text
