// A conversation as chat clients send it, free of any wire format.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::text {

enum class Role { System, User, Assistant, Tool, Developer, LatestReminder };

// A function that the model may call.
struct Tool {
  std::string name;
  std::string function_json;  // the function object as the client wrote it, key order kept
};

struct ToolCall {
  std::string id;  // empty when the client sent none
  std::string name;
  std::string arguments;  // JSON text of an object; whatever the model or the client wrote
};

}  // namespace fathom::text
