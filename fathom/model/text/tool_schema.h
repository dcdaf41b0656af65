// What the reply parser asks of a tool's JSON schema: which properties it has and of which types.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/model/text/conversation.h"
#include "fathom/model/text/json_text.h"

namespace fathom::text {

class ToolSchema {
 public:
  // Throws InvalidArgument naming the tool when its function object is no JSON object.
  explicit ToolSchema(const Tool& tool);

  const std::string& name() const { return name_; }
  // Calls were held to the schema when they were sampled.
  bool is_strict() const { return is_strict_; }
  bool has_property(std::string_view key) const;
  // Whether a value of the property is plain text unless marked otherwise: its type is not said, or
  // may be a string, or there is no such property.
  bool takes_string(std::string_view key) const;
  // Whether the property's type, where it is said, allows this kind. An integer is a number.
  bool takes(std::string_view key, JsonKind kind) const;

 private:
  std::string name_;
  bool is_strict_;
  // Property to a bit per JsonKind; 0 when the type is not said.
  std::map<std::string, unsigned, std::less<>> kinds_of_;
};

// The tools that a request declares, by name; of equal names the first.
class ToolSet {
 public:
  ToolSet() = default;
  explicit ToolSet(const std::vector<Tool>& tools);
  const std::vector<ToolSchema>& schemas() const { return schemas_; }
  const ToolSchema* find(std::string_view name) const;  // null for an undeclared tool

 private:
  std::vector<ToolSchema> schemas_;
};

// Tools from JSON text: an array, or an object with an array `tools`, of function objects or of
// {"type": "function", "function": {...}}. Throws InvalidArgument naming `source` and the entry.
std::vector<Tool> parse_tools(std::string_view json, const std::string& source);

}  // namespace fathom::text
