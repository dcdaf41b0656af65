#include "apps/fathom/conversation_file.h"

#include <span>

#include <nlohmann/json.hpp>

#include "fathom/base/platform/output_file.h"
#include "fathom/model/text/conversation_json.h"

#include "apps/fathom/input.h"

namespace fathom::app {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const text::Message& message) {
  Json json = {{"role", text::to_string(message.role)}, {"content", text_of(message)}};
  if (!message.reasoning.empty()) {
    json["reasoning_content"] = message.reasoning;
  }
  for (const text::ToolCall& call : message.tool_calls) {
    json["tool_calls"].push_back(
        {{"id", call.id},
         {"type", "function"},
         {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  if (!message.tool_call_id.empty()) {
    json["tool_call_id"] = message.tool_call_id;
  }
  return json;
}

}  // namespace

void save_conversation(const text::Conversation& conversation, const std::string& file) {
  Json json = {{"messages", Json::array()}};
  for (const text::Message& message : conversation.messages) {
    json["messages"].push_back(json_of(message));
  }
  for (const text::Tool& tool : conversation.tools) {
    json["tools"].push_back({{"type", "function"}, {"function", Json::parse(tool.function_json)}});
  }
  const std::string text = json.dump(2) + "\n";
  platform::OutputFile output(file, to_index(text.size()));
  output.write(0, std::as_bytes(std::span(text)));
  output.commit();
}

text::Conversation load_conversation(const std::string& file) {
  return text::read_conversation(read_text_input(file), file).conversation;
}

}  // namespace fathom::app
