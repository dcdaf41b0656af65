// The tools of a Responses request: what the model is told, and how its calls are answered.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fathom/model/text/conversation.h"
#include "fathom/model/text/json_field.h"

namespace fathom::openai {

// A tool as the client named it.
struct ResponsesTool {
  std::string flat_name;        // what the model calls it
  std::string name;             // inside its namespace
  std::string name_space = {};  // empty: none
  // A `custom` tool takes one text, which the model writes as the parameter `input`.
  bool is_custom = false;
};

// The one name that the model sees for a tool of a namespace.
std::string flat_tool_name(std::string_view name_space, std::string_view name);

// What a custom tool is called with, out of the arguments that the model wrote.
std::string custom_input(std::string_view arguments);
// The same backwards.
std::string custom_arguments(std::string_view input);

class ResponsesTools {
 public:
  // Adds the tools of a list. `function`, `custom` and `namespace` are what we can do; tools that
  // the vendor runs itself (web_search, ...) are left out. Throws InvalidArgument for another type
  // and for a name that is given twice, Unsupported for a tool of the vendor's that the client
  // runs; all name the field.
  void add(const text::JsonField& list);

  // Only the tools that a list of {type, name} names: `allowed_tools` of tool_choice.
  void keep_only(const text::JsonField& list);

  // The tool that a {name, namespace} of tool_choice means. Throws InvalidArgument without one.
  const ResponsesTool& chosen(const text::JsonField& choice) const;

  // Null for a name that was not declared.
  const ResponsesTool* find(std::string_view flat_name) const;

  const std::vector<text::Tool>& declared() const { return declared_; }

 private:
  void add_tool(const text::JsonField& field,
                std::string_view name_space,
                std::string_view description);
  void add_namespace(const text::JsonField& field);

  std::vector<ResponsesTool> tools_;
  std::vector<text::Tool> declared_;  // one for each of tools_
};

}  // namespace fathom::openai
