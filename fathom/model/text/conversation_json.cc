#include "fathom/model/text/conversation_json.h"

#include <algorithm>
#include <array>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/json_field.h"

namespace fathom::text {
namespace {

using Kind = JsonValue::Kind;
using Field = JsonField;

// Whose rules hold where both forms use the same name.
enum class Form { Encoder, Request };

// A part of a message. Requests also use the names of other wire formats for text.
ContentPart read_part(const Field& field, Form form) {
  ContentPart part{.type = field.member("type").text(), .text = {}};
  if (form == Form::Request && (part.type == "input_text" || part.type == "output_text")) {
    part.type = "text";
  }
  if (part.type == "text") {
    part.text = field.member("text").text_or("");
  } else if (form == Form::Request && part.type == "refusal") {
    part = {.type = "text", .text = field.member("refusal").text_or("")};
  }
  return part;
}

std::vector<ContentPart> read_content(const Field& field, Form form) {
  if (field.is_absent()) {
    return {};
  }
  if (field.is(Kind::String)) {
    return {{.type = "text", .text = field.value().text}};
  }
  field.require(Kind::Array, "a string, a list or null");
  std::vector<ContentPart> parts;
  for (Index i = 0; i < field.size(); ++i) {
    const Field item = field.item(i);
    item.require(Kind::Object, "an object");
    parts.push_back(read_part(item, form));
  }
  return parts;
}

std::vector<Tool> read_tools(const Field& field) {
  std::vector<Tool> tools;
  if (!field.has_items()) {
    return tools;
  }
  for (Index i = 0; i < field.size(); ++i) {
    field.item(i).require(Kind::Object, "an object");
    const Field function = field.item(i).member("function");
    function.require(Kind::Object, "an object");
    tools.push_back({.name = function.member("name").text(),
                     .function_json = print_json(function.value()),
                     .is_strict = function.member("strict").boolean_or(false),
                     .schema_field = function.member("parameters").path()});
  }
  return tools;
}

// Arguments are a string of JSON; a client that sends the value itself means its text.
std::string read_arguments(const Field& field) {
  return field.is(Kind::Array) || field.is(Kind::Object) || field.is(Kind::Number) ||
                 field.is(Kind::Boolean)
             ? print_json(field.value())
             : field.text_or("");
}

std::vector<ToolCall> read_tool_calls(const Field& field) {
  std::vector<ToolCall> calls;
  if (!field.has_items()) {
    return calls;
  }
  for (Index i = 0; i < field.size(); ++i) {
    const Field call = field.item(i);
    call.require(Kind::Object, "an object");
    const Field function = call.member("function");
    function.require(Kind::Object, "an object");
    std::string id = call.member("id").text_or("");
    calls.push_back({.id = id.empty() ? function.member("id").text_or("") : std::move(id),
                     .name = function.member("name").text(),
                     .arguments = read_arguments(function.member("arguments"))});
  }
  return calls;
}

Role read_role(const Field& field, Form form) {
  const std::optional<Role> role =
      field.is(Kind::String) ? role_from_name(field.value().text) : std::nullopt;
  if (!role) {
    field.refuse("one of " + role_names());
  }
  return form == Form::Request && *role == Role::Developer ? Role::System : *role;
}

std::optional<Task> read_task(const Field& field) {
  if (field.is_absent()) {
    return std::nullopt;
  }
  const std::optional<Task> task =
      field.is(Kind::String) ? task_from_name(field.value().text) : std::nullopt;
  if (!task) {
    field.refuse("one of " + task_names());
  }
  return task;
}

Message read_message(const Field& field, Form form) {
  field.require(Kind::Object, "an object");
  Message message;
  message.role = read_role(field.member("role"), form);
  message.content = read_content(field.member("content"), form);
  const Field reasoning = field.member("reasoning_content");
  message.reasoning = (reasoning.is_absent() ? field.member("reasoning") : reasoning).text_or("");
  message.tool_calls = read_tool_calls(field.member("tool_calls"));
  message.tool_call_id = field.member("tool_call_id").text_or("");
  message.tools = read_tools(field.member("tools"));
  // Whatever schema there is, as it is; the published encoder takes an empty one for none.
  const Field response_format = field.member("response_format");
  if (!response_format.is_absent()) {
    response_format.require(Kind::Object, "an object");
    message.response_format =
        response_format.size() == 0 ? "" : print_json(response_format.value());
  }
  message.task = read_task(field.member("task"));
  if (field.member("prefix").boolean_or(false)) {
    message.ending = Ending::Prefix;
  } else if (field.member("wo_eos").boolean_or(false)) {
    message.ending = Ending::WithoutEos;
  }
  return message;
}

std::vector<Message> read_messages(const Field& field, Form form) {
  field.require(Kind::Array, "a list of messages");
  std::vector<Message> messages;
  messages.reserve(to_size(field.size()));
  for (Index i = 0; i < field.size(); ++i) {
    messages.push_back(read_message(field.item(i), form));
  }
  return messages;
}

// The schema that the reply has to follow, or an empty text.
std::string read_response_format(const Field& field) {
  if (field.is_absent()) {
    return "";
  }
  field.require(Kind::Object, "an object");
  const std::string type = field.member("type").text_or("");
  if (type == "text" || type == "json_object") {
    return "";
  }
  if (type != "json_schema") {
    field.member("type").refuse(R"(one of "text", "json_object", "json_schema")");
  }
  const Field nested = field.member("json_schema").object().member("schema");
  const Field schema = nested.is_absent() ? field.member("schema") : nested;
  if (schema.is_absent()) {
    nested.refuse("an object");
  }
  return print_json(schema.object().value());
}

std::optional<std::string> read_effort(const Field& field) {
  if (field.is_absent()) {
    return std::nullopt;
  }
  return field.text();
}

void read_encoder_options(const Field& root, ConversationFile& file) {
  const Field mode = root.member("thinking_mode");
  if (!mode.is_absent()) {
    const std::string name = mode.is(Kind::String) ? mode.value().text : "";
    if (name != "thinking" && name != "chat") {
      mode.refuse(R"("thinking" or "chat")");
    }
    file.options.thinking = name == "thinking";
  }
  const Field kwargs = root.member("kwargs").object();
  if (kwargs.is_absent()) {
    return;
  }
  constexpr auto kNames = std::to_array<std::string_view>(
      {"reasoning_effort", "drop_thinking", "add_default_bos_token", "context"});
  for (const std::string& key : kwargs.value().keys) {
    if (std::find(kNames.begin(), kNames.end(), key) == kNames.end()) {
      fail(ErrorCode::InvalidArgument, "kwargs: expected reasoning_effort, drop_thinking, ",
           "add_default_bos_token or context, found ", formats::quote(key));
    }
  }
  file.options.effort = read_effort(kwargs.member("reasoning_effort"));
  file.options.drop_thinking = kwargs.member("drop_thinking").boolean_or(true);
  file.options.add_bos = kwargs.member("add_default_bos_token").boolean_or(true);
  const Field context = kwargs.member("context");
  if (!context.is_absent()) {
    file.conversation.context = read_messages(context, Form::Encoder);
  }
}

// Whether a request wants reasoning: clients say it in four ways, the most explicit one counts.
bool read_thinking(const Field& root, const std::optional<std::string>& effort) {
  const Field type = root.member("thinking").object().member("type");
  if (!type.is_absent()) {
    const std::string name = type.is(Kind::String) ? type.value().text : "";
    if (name != "enabled" && name != "disabled") {
      type.refuse(R"("enabled" or "disabled")");
    }
    return name == "enabled";
  }
  const Field arguments = root.member("chat_template_kwargs").object();
  for (const char* const key : {"thinking", "enable_thinking"}) {
    const Field field = arguments.member(key);
    if (!field.is_absent()) {
      return field.boolean_or(true);
    }
  }
  if (effort) {
    return *effort != "none";
  }
  return root.member("model").text_or("") != "deepseek-chat";
}

void read_request_options(const Field& root, ConversationFile& file) {
  Conversation& conversation = file.conversation;
  conversation.system_messages = SystemMessages::Folded;
  if (conversation.messages.empty()) {
    root.member("messages").refuse("at least one message");
  }
  Message& last = conversation.messages.back();
  if (last.role == Role::Assistant && last.tool_calls.empty()) {
    last.ending = Ending::Prefix;
  }
  const Field arguments = root.member("chat_template_kwargs").object();
  std::optional<std::string> effort = read_effort(root.member("reasoning_effort"));
  if (!effort) {
    effort = read_effort(arguments.member("reasoning_effort"));
  }
  file.options.thinking = read_thinking(root, effort);
  file.options.effort = effort && *effort != "none" ? *effort : "high";
  file.options.drop_thinking = arguments.member("drop_thinking").boolean_or(true);
}

ConversationFile read_document(const JsonValue& root, Form form) {
  const Field field(&root);
  ConversationFile file;
  file.conversation.messages = read_messages(field.member("messages"), form);
  file.conversation.tools = read_tools(field.member("tools"));
  file.conversation.response_format = read_response_format(field.member("response_format"));
  if (form == Form::Request) {
    read_request_options(field, file);
  } else {
    read_encoder_options(field, file);
  }
  return file;
}

}  // namespace

ConversationFile read_conversation(const JsonValue& root) {
  ConversationFile file;
  if (root.kind == Kind::Array) {
    file.conversation.messages = read_messages(Field(&root, "messages"), Form::Encoder);
    return file;
  }
  Field(&root, "conversation").require(Kind::Object, "an object or a list");
  return read_document(root, root.find("model") != nullptr ? Form::Request : Form::Encoder);
}

ConversationFile read_chat_request(const JsonValue& root) {
  Field(&root).require(Kind::Object, "an object");
  return read_document(root, Form::Request);
}

ConversationFile read_conversation(std::string_view json, const std::string& source) {
  return read_conversation(parse_json(json, source));
}

}  // namespace fathom::text
