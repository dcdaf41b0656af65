#include "fathom/model/text/tool_schema.h"

#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

namespace fathom::text {
namespace {

using Json = nlohmann::ordered_json;

constexpr unsigned bit(JsonKind kind) {
  return 1U << static_cast<unsigned>(kind);
}

struct TypeName {
  std::string_view name;
  unsigned kinds;
};
constexpr TypeName kTypeNames[] = {
    {"null", bit(JsonKind::Null)},       {"boolean", bit(JsonKind::Boolean)},
    {"integer", bit(JsonKind::Integer)}, {"number", bit(JsonKind::Integer) | bit(JsonKind::Number)},
    {"string", bit(JsonKind::String)},   {"array", bit(JsonKind::Array)},
    {"object", bit(JsonKind::Object)},
};

unsigned kinds_of_name(const Json& name) {
  for (const TypeName& type : kTypeNames) {
    if (name.is_string() && name.get_ref<const std::string&>() == type.name) {
      return type.kinds;
    }
  }
  return 0;
}

// Bits of the types that a property's schema names; 0 when it names none.
unsigned kinds_of_schema(const Json& schema) {
  const auto type = schema.is_object() ? schema.find("type") : schema.end();
  if (!schema.is_object() || type == schema.end()) {
    return 0;
  }
  if (!type->is_array()) {
    return kinds_of_name(*type);
  }
  unsigned kinds = 0;
  for (const Json& name : *type) {
    kinds |= kinds_of_name(name);
  }
  return kinds;
}

// Deep enough for any schema; deeper text would exhaust the stack when it is written again.
constexpr int kMaxDepth = 200;

// The document, or a discarded value for text that is no JSON.
Json parse(std::string_view text, const std::string& source) {
  const auto limit_depth = [&](int depth, Json::parse_event_t /*event*/, Json& /*value*/) {
    if (depth > kMaxDepth) {
      fail(ErrorCode::InvalidArgument, source, ": JSON nested deeper than ", kMaxDepth);
    }
    return true;
  };
  return Json::parse(text, limit_depth, false);
}

Tool tool_of(const Json& entry, const std::string& place) {
  if (!entry.is_object()) {
    fail(ErrorCode::InvalidArgument, place, ": expected a tool (an object), found ",
         entry.type_name());
  }
  const bool is_wrapped = entry.contains("function");
  const Json& function = is_wrapped ? entry["function"] : entry;
  const std::string prefix = is_wrapped ? place + ".function" : place;
  if (!function.is_object() || !function.contains("name") || !function["name"].is_string()) {
    fail(ErrorCode::InvalidArgument, prefix, ": expected a function object with a string `name`");
  }
  return {.name = function["name"].get<std::string>(), .function_json = function.dump()};
}

}  // namespace

ToolSchema::ToolSchema(const Tool& tool) : name_(tool.name), is_strict_(tool.is_strict) {
  const std::string source = "tool " + formats::quote(tool.name);
  const Json function = parse(tool.function_json, source);
  if (!function.is_object()) {
    fail(ErrorCode::InvalidArgument, source, ": expected a JSON object, found ",
         formats::quote(tool.function_json));
  }
  const auto parameters = function.find("parameters");
  if (parameters == function.end() || !parameters->is_object()) {
    return;
  }
  const auto properties = parameters->find("properties");
  if (properties == parameters->end() || !properties->is_object()) {
    return;
  }
  for (const auto& [key, schema] : properties->items()) {
    kinds_of_.emplace(key, kinds_of_schema(schema));
  }
}

bool ToolSchema::has_property(std::string_view key) const {
  return kinds_of_.contains(key);
}

bool ToolSchema::takes_string(std::string_view key) const {
  const auto kinds = kinds_of_.find(key);
  return kinds == kinds_of_.end() || kinds->second == 0 ||
         (kinds->second & bit(JsonKind::String)) != 0;
}

bool ToolSchema::takes(std::string_view key, JsonKind kind) const {
  const auto kinds = kinds_of_.find(key);
  return kinds == kinds_of_.end() || kinds->second == 0 || (kinds->second & bit(kind)) != 0;
}

ToolSet::ToolSet(const std::vector<Tool>& tools) {
  schemas_.reserve(tools.size());
  for (const Tool& tool : tools) {
    if (find(tool.name) == nullptr) {
      schemas_.emplace_back(tool);
    }
  }
}

const ToolSchema* ToolSet::find(std::string_view name) const {
  for (const ToolSchema& schema : schemas_) {
    if (schema.name() == name) {
      return &schema;
    }
  }
  return nullptr;
}

std::vector<Tool> parse_tools(std::string_view json, const std::string& source) {
  const Json document = parse(json, source);
  if (document.is_discarded()) {
    fail(ErrorCode::InvalidArgument, source, ": not valid JSON");
  }
  const bool is_object = document.is_object() && document.contains("tools");
  const Json& list = is_object ? document["tools"] : document;
  if (!list.is_array()) {
    fail(ErrorCode::InvalidArgument, source, ": expected an array of tools, found ",
         list.type_name());
  }
  std::vector<Tool> tools;
  for (std::size_t i = 0; i < list.size(); ++i) {
    tools.push_back(tool_of(list[i], source + ": tool " + std::to_string(i)));
  }
  return tools;
}

}  // namespace fathom::text
