#include "fathom/serve/openai/responses_tools.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/model/text/json_text.h"
#include "fathom/model/text/json_value.h"

namespace fathom::openai {
namespace {

using text::JsonField;
using text::JsonValue;
using Kind = JsonValue::Kind;

constexpr std::string_view kInput = "input";

// Tools that the vendor's servers run: a model here is better off not knowing of them.
constexpr auto kHosted = std::to_array<std::string_view>(
    {"web_search", "file_search", "code_interpreter", "image_generation", "mcp", "tool_search"});
// Tools with item types of their own that the client runs: leaving them out would disarm it.
constexpr auto kClientRun =
    std::to_array<std::string_view>({"computer", "local_shell", "shell", "apply_patch"});

// `web_search`, and `web_search_preview_2025_03_11`.
bool is_one_of(const auto& names, std::string_view type) {
  return std::any_of(names.begin(), names.end(), [type](std::string_view name) {
    return type.starts_with(name) && (type.size() == name.size() || type[name.size()] == '_');
  });
}

JsonValue string_value(std::string text) {
  JsonValue value;
  value.kind = Kind::String;
  value.text = std::move(text);
  return value;
}

JsonValue empty_object() {
  JsonValue value;
  value.kind = Kind::Object;
  return value;
}

void set(JsonValue& object, std::string_view key, JsonValue value) {
  object.keys.emplace_back(key);
  object.items.push_back(std::move(value));
}

JsonValue parameters_of(const JsonField& field) {
  const JsonField parameters = field.member("parameters").object();
  if (!parameters.is_absent()) {
    return parameters.value();
  }
  return text::parse_json(R"({"type": "object", "properties": {}})", "parameters");
}

// The parameters of a custom tool: one required text with these keywords.
JsonValue input_parameters(std::string_view keyword, std::string text) {
  JsonValue input = empty_object();
  set(input, "type", string_value("string"));
  if (!text.empty()) {
    set(input, keyword, string_value(std::move(text)));
  }
  JsonValue properties = empty_object();
  set(properties, kInput, std::move(input));
  JsonValue required;
  required.kind = Kind::Array;
  required.items.push_back(string_value(std::string(kInput)));
  JsonValue parameters = empty_object();
  set(parameters, "type", string_value("object"));
  set(parameters, "properties", std::move(properties));
  set(parameters, "required", std::move(required));
  return parameters;
}

// What the text of a custom tool has to be, as the model is told it and as calls are held to it.
struct CustomParameters {
  JsonValue told;
  std::string held;  // a JSON schema; empty: any text
};

CustomParameters custom_parameters(const JsonField& format) {
  const JsonField type = format.member("type");
  if (type.text_or("text") == "text") {
    return {input_parameters("description", ""), ""};
  }
  if (type.text() != "grammar") {
    type.refuse(R"("text" or "grammar")");
  }
  const std::string definition = format.member("definition").text();
  const std::string syntax = format.member("syntax").text_or("lark");
  JsonValue told =
      input_parameters("description", "Must match this " + syntax + " grammar:\n" + definition);
  if (syntax == "lark") {
    return {std::move(told), print_json(input_parameters("lark", definition))};
  }
  if (syntax != "regex") {
    format.member("syntax").refuse(R"("lark" or "regex")");
  }
  return {std::move(told), print_json(input_parameters("pattern", "^(?:" + definition + ")$"))};
}

std::string tool_name(const JsonField& field) {
  std::string name = field.text();
  if (name.empty()) {
    field.refuse("a name");
  }
  return name;
}

}  // namespace

std::string flat_tool_name(std::string_view name_space, std::string_view name) {
  std::string flat(name_space);
  if (!flat.empty() && !flat.ends_with("__")) {
    flat += "__";
  }
  return flat.append(name);
}

std::string custom_input(std::string_view arguments) {
  const std::optional<JsonValue> value = text::try_parse_json(arguments);
  const JsonValue* const input = value ? value->find(kInput) : nullptr;
  return input != nullptr && input->kind == Kind::String ? input->text : std::string(arguments);
}

std::string custom_arguments(std::string_view input) {
  return R"({"input": )" + text::json_string(input) + "}";
}

void ResponsesTools::add(const JsonField& list) {
  if (!list.has_items()) {
    return;
  }
  for (Index i = 0; i < list.size(); ++i) {
    const JsonField field = list.item(i);
    field.require(Kind::Object, "an object");
    const std::string type = field.member("type").text();
    if (type == "function" || type == "custom") {
      add_tool(field, "", "");
    } else if (type == "namespace") {
      add_namespace(field);
    } else if (is_one_of(kClientRun, type)) {
      fail(ErrorCode::Unsupported, field.member("type").path(), ": ", type,
           " is not supported; declare a tool of type function or custom instead");
    } else if (!is_one_of(kHosted, type)) {
      field.member("type").refuse(R"("function", "custom", "namespace" or a hosted tool)");
    }
  }
}

void ResponsesTools::add_namespace(const JsonField& field) {
  const std::string name_space = tool_name(field.member("name"));
  const std::string description = field.member("description").text_or("");
  const JsonField nested = field.member("tools");
  if (!nested.has_items()) {
    return;
  }
  for (Index i = 0; i < nested.size(); ++i) {
    nested.item(i).require(Kind::Object, "an object");
    const std::string type = nested.item(i).member("type").text_or("function");
    if (type != "function" && type != "custom") {
      nested.item(i).member("type").refuse(R"("function" or "custom")");
    }
    add_tool(nested.item(i), name_space, description);
  }
}

void ResponsesTools::add_tool(const JsonField& field,
                              std::string_view name_space,
                              std::string_view description) {
  ResponsesTool tool = {.flat_name = {},
                        .name = tool_name(field.member("name")),
                        .name_space = std::string(name_space),
                        .is_custom = field.member("type").text_or("") == "custom"};
  tool.flat_name = flat_tool_name(name_space, tool.name);
  if (find(tool.flat_name) != nullptr) {
    field.member("name").refuse("a name that no other tool has");
  }
  std::string told(description);
  const std::string own = field.member("description").text_or("");
  told += told.empty() || own.empty() ? "" : "\n\n";
  told += own;

  JsonValue function = empty_object();
  set(function, "name", string_value(tool.flat_name));
  if (!told.empty()) {
    set(function, "description", string_value(std::move(told)));
  }
  text::Tool declared = {.name = tool.flat_name, .function_json = {}};
  if (tool.is_custom) {
    const JsonField format = field.member("format").object();
    CustomParameters parameters = custom_parameters(format);
    set(function, "parameters", std::move(parameters.told));
    declared.is_strict = !parameters.held.empty();
    declared.held_schema = std::move(parameters.held);
    declared.schema_field = format.member("definition").path();
  } else {
    set(function, "parameters", parameters_of(field));
    declared.is_strict = field.member("strict").boolean_or(false);
    declared.schema_field = field.member("parameters").path();
  }
  declared.function_json = print_json(function);
  declared_.push_back(std::move(declared));
  tools_.push_back(std::move(tool));
}

const ResponsesTool& ResponsesTools::chosen(const JsonField& choice) const {
  const ResponsesTool* const tool =
      find(flat_tool_name(choice.member("namespace").text_or(""), choice.member("name").text()));
  if (tool == nullptr) {
    choice.member("name").refuse("the name of one of tools");
  }
  return *tool;
}

void ResponsesTools::keep_only(const JsonField& list) {
  std::vector<std::string> kept;
  if (list.has_items()) {
    for (Index i = 0; i < list.size(); ++i) {
      list.item(i).require(Kind::Object, "an object");
      const std::string type = list.item(i).member("type").text_or("function");
      if (type == "function" || type == "custom") {
        kept.push_back(chosen(list.item(i)).flat_name);
      }
    }
  }
  const auto is_dropped = [&kept](const std::string& name) {
    return std::find(kept.begin(), kept.end(), name) == kept.end();
  };
  std::erase_if(tools_, [&](const ResponsesTool& tool) { return is_dropped(tool.flat_name); });
  std::erase_if(declared_, [&](const text::Tool& tool) { return is_dropped(tool.name); });
}

const ResponsesTool* ResponsesTools::find(std::string_view flat_name) const {
  const auto found =
      std::find_if(tools_.begin(), tools_.end(),
                   [flat_name](const ResponsesTool& tool) { return tool.flat_name == flat_name; });
  return found == tools_.end() ? nullptr : &*found;
}

}  // namespace fathom::openai
