// A conversation as chat clients send it, free of any wire format.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::text {

// Developer is the search agent's role of V4's training, which holds a whole user turn. The
// `developer` of chat-completions requests is a System message.
enum class Role { System, User, Assistant, Tool, Developer, LatestReminder };

std::string_view to_string(Role role);
std::optional<Role> role_from_name(std::string_view name);
// "system", "user", ... in the order of the enum, for messages.
std::string role_names();

// Short classifications that V4 was trained to write after a message.
enum class Task { Action, Query, Authority, Domain, Title, ReadUrl };

std::string_view to_string(Task task);
std::optional<Task> task_from_name(std::string_view name);
std::string task_names();

// A function that the model may call.
struct Tool {
  std::string name;
  std::string function_json;  // the function object as the client wrote it, key order kept
  // Calls are held to the schema of its parameters while they are sampled.
  bool is_strict = false;
  std::string schema_field = {};  // where the client gave that schema, for what is wrong with it
  // JSON; not empty: calls of a strict tool are held to this instead of what the model is told.
  std::string held_schema = {};
};

struct ToolCall {
  std::string id;  // empty when the client sent none
  std::string name;
  std::string arguments;  // JSON text of an object; whatever the model or the client wrote
};

// A piece of a message. Text has a text, any other type (image_url, ...) only its name.
struct ContentPart {
  std::string type = "text";
  std::string text = {};
};

// How the last message of the assistant ends.
enum class Ending {
  Closed,      // a complete message
  WithoutEos,  // V4's `wo_eos`: everything but the end token
  Prefix,      // the beginning of the reply; reasoning alone stays open, so that it goes on
};

struct Message {
  Role role = Role::User;
  std::vector<ContentPart> content = {};
  std::string reasoning = {};             // assistant
  std::vector<ToolCall> tool_calls = {};  // assistant
  std::string tool_call_id = {};          // tool
  std::vector<Tool> tools = {};           // system, developer
  std::string response_format = {};       // system, developer: JSON text of a schema, or empty
  std::optional<Task> task = {};
  Ending ending = Ending::Closed;  // assistant
};

// What becomes of system messages that the model was not trained on.
enum class SystemMessages {
  AsGiven,
  Folded,  // leading ones are joined, a later one is text of the next user turn
};

struct Conversation {
  std::vector<Message> messages = {};
  // What came before `messages` and has been rendered already: seen, not rendered.
  std::vector<Message> context = {};
  std::vector<Tool> tools = {};      // of the whole conversation
  std::string response_format = {};  // the same: JSON text of a schema, or empty
  SystemMessages system_messages = SystemMessages::AsGiven;
};

// How a conversation becomes a prompt. A format without thinking ignores what is about it.
struct RenderOptions {
  bool thinking = true;
  std::optional<std::string> effort = {};  // a name of the dialect; nothing: the dialect's default
  bool drop_thinking = true;               // old turns lose their reasoning
  bool add_bos = true;
};

// The text of a message: its parts joined by an empty line, `[Unsupported TYPE]` for what is no
// text.
std::string text_of(const Message& message);

// At most one system message, at the front, of all leading ones; a later one is what a user says.
void fold_system_messages(std::vector<Message>& messages);

}  // namespace fathom::text
