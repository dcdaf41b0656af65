#include "fathom/serve/openai/responses_input.h"

#include <algorithm>
#include <array>
#include <optional>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/json_value.h"

namespace fathom::openai {
namespace {

using text::JsonField;
using text::JsonValue;
using text::Message;
using text::Role;
using Kind = JsonValue::Kind;

// What tools leave behind that ran on the server that answered before.
constexpr auto kSkipped = std::to_array<std::string_view>(
    {"web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call",
     "mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response"});

// Calls of the vendor's own tools: the tool, and the member that says what it was called with.
struct BuiltInCall {
  std::string_view type;
  std::string_view output_type;
  std::string_view name;
  std::string_view arguments;
};
constexpr auto kBuiltInCalls = std::to_array<BuiltInCall>({
    {"local_shell_call", "local_shell_call_output", "local_shell", "action"},
    {"shell_call", "shell_call_output", "shell", "action"},
    {"apply_patch_call", "apply_patch_call_output", "apply_patch", "operation"},
    {"tool_search_call", "tool_search_output", "tool_search", "arguments"},
});

Role read_role(const JsonField& field) {
  const std::string name = field.is(Kind::String) ? field.value().text : "";
  if (name == "developer" || name == "system") {
    return Role::System;
  }
  if (name != "user" && name != "assistant") {
    field.refuse(R"("user", "assistant", "system" or "developer")");
  }
  return name == "user" ? Role::User : Role::Assistant;
}

// The texts of a list of parts, one after another.
std::string joined_texts(const JsonField& list, std::string_view gap) {
  std::string joined;
  if (list.is(Kind::String)) {
    return list.value().text;
  }
  if (list.has_items()) {
    for (Index i = 0; i < list.size(); ++i) {
      list.item(i).require(Kind::Object, "an object");
      joined += i == 0 ? "" : gap;
      joined += list.item(i).member("text").text_or("");
    }
  }
  return joined;
}

std::string text_or_json(const JsonField& field) {
  if (field.is_absent()) {
    return "";
  }
  return field.is(Kind::String) ? field.value().text : print_json(field.value());
}

std::string called_name(const JsonField& item) {
  return flat_tool_name(item.member("namespace").text_or(""), item.member("name").text());
}

// An output item of a stored response.
std::optional<JsonValue> find_output_item(const std::string& document, std::string_view id) {
  const std::optional<JsonValue> response = text::try_parse_json(document);
  const JsonValue* const output = response ? response->find("output") : nullptr;
  if (output == nullptr) {
    return std::nullopt;
  }
  for (const JsonValue& item : output->items) {
    const JsonValue* const item_id = item.find("id");
    if (item_id != nullptr && item_id->text == id) {
      return item;
    }
  }
  return std::nullopt;
}

}  // namespace

void ResponsesInput::add_history(const std::vector<Message>& messages) {
  for (const Message& message : messages) {
    for (const text::ToolCall& call : message.tool_calls) {
      call_ids_.insert(call.id);
    }
  }
  messages_.insert(messages_.end(), messages.begin(), messages.end());
}

void ResponsesInput::add(const JsonField& input) {
  if (input.is_absent()) {
    return;
  }
  if (input.is(Kind::String)) {
    messages_.push_back({.role = Role::User, .content = {{.text = input.value().text}}});
    return;
  }
  input.require(Kind::Array, "a string or a list of items");
  for (Index i = 0; i < input.size(); ++i) {
    add_item(input.item(i));
  }
}

void ResponsesInput::add_item(const JsonField& item) {
  item.require(Kind::Object, "an object");
  const std::string type = item.member("type").text_or("message");
  if (type == "message") {
    add_message(item);
  } else if (type == "reasoning") {
    add_reasoning(item);
  } else if (type == "item_reference") {
    add_reference(item);
  } else if (type == "additional_tools") {
    tools_->add(item.member("tools"));
  } else if (!add_call_item(item, type) &&
             std::find(kSkipped.begin(), kSkipped.end(), type) == kSkipped.end()) {
    fail(ErrorCode::Unsupported, item.member("type").path(), ": items of type ",
         formats::quote(type), " are not supported");
  }
}

bool ResponsesInput::add_call_item(const JsonField& item, const std::string& type) {
  if (type == "function_call") {
    add_call(item, called_name(item), text_or_json(item.member("arguments")));
    return true;
  }
  if (type == "custom_tool_call") {
    add_call(item, called_name(item), custom_arguments(item.member("input").text_or("")));
    return true;
  }
  if (type == "function_call_output" || type == "custom_tool_call_output") {
    add_output(item);
    return true;
  }
  for (const BuiltInCall& call : kBuiltInCalls) {
    if (type == call.type) {
      add_call(item, std::string(call.name), text_or_json(item.member(call.arguments)));
      return true;
    }
    if (type == call.output_type) {
      add_output(item);
      return true;
    }
  }
  return false;
}

Message& ResponsesInput::assistant(bool begins) {
  const bool is_open =
      !messages_.empty() && messages_.back().role == Role::Assistant &&
      (!begins || (messages_.back().content.empty() && messages_.back().tool_calls.empty()));
  if (!is_open) {
    messages_.push_back({.role = Role::Assistant});
  }
  return messages_.back();
}

void ResponsesInput::add_message(const JsonField& item) {
  const Role role = read_role(item.member("role"));
  std::vector<text::ContentPart> content = read_content(item.member("content"));
  if (role == Role::Assistant) {
    assistant(/*begins=*/true).content = std::move(content);
  } else {
    messages_.push_back({.role = role, .content = std::move(content)});
  }
}

void ResponsesInput::add_reasoning(const JsonField& item) {
  const JsonField sealed = item.member("encrypted_content");
  std::string reasoning = joined_texts(item.member("content"), "");
  if (reasoning.empty()) {
    reasoning = joined_texts(item.member("summary"), "\n\n");
  }
  if (!sealed.is_absent()) {
    const std::optional<std::string> opened = service_->seal().open(owner_, sealed.text());
    if (opened) {
      reasoning = *opened;
    } else if (reasoning.empty()) {
      fail(ErrorCode::InvalidArgument, sealed.path(),
           ": expected what this server gave to this client; it was altered, or another server "
           "made it, or this one before a restart (leave the item out)");
    }
  }
  if (!reasoning.empty()) {
    assistant(/*begins=*/true).reasoning += reasoning;
  }
}

void ResponsesInput::add_call(const JsonField& item, std::string name, std::string arguments) {
  const JsonField call_id = item.member("call_id");
  std::string id = call_id.is_absent() ? item.member("id").text() : call_id.text();
  call_ids_.insert(id);
  assistant(/*begins=*/false)
      .tool_calls.push_back(
          {.id = std::move(id), .name = std::move(name), .arguments = std::move(arguments)});
}

void ResponsesInput::add_output(const JsonField& item) {
  const JsonField call_id = item.member("call_id");
  Message message = {.role = Role::Tool};
  message.tool_call_id = call_id.text();
  if (call_ids_.count(message.tool_call_id) == 0) {
    call_id.refuse("the call_id of an earlier call");
  }
  const JsonField output = item.member("output");
  const JsonField found_tools = item.member("tools");
  if (found_tools.is(Kind::Array)) {
    tools_->add(found_tools);
    message.content = {{.text = print_json(found_tools.value())}};
  } else if (output.is(Kind::Object)) {
    message.content = {{.text = print_json(output.value())}};
  } else {
    message.content = read_content(output);
  }
  messages_.push_back(std::move(message));
}

void ResponsesInput::add_reference(const JsonField& item) {
  const JsonField id = item.member("id");
  const wire::StoredConversationPtr stored = service_->store()->find(owner_, id.text());
  const std::optional<JsonValue> referred = stored && stored->is_retrievable
                                                ? find_output_item(stored->document, id.text())
                                                : std::nullopt;
  if (!referred) {
    id.refuse("the id of an item that this server stores (else replay the full input)");
  }
  add_item(JsonField(&*referred, item.path()));
}

std::vector<text::ContentPart> ResponsesInput::read_content(const JsonField& field) const {
  if (field.is_absent()) {
    return {};
  }
  if (field.is(Kind::String)) {
    return {{.text = field.value().text}};
  }
  field.require(Kind::Array, "a string or a list of parts");
  std::vector<text::ContentPart> parts;
  for (Index i = 0; i < field.size(); ++i) {
    parts.push_back(read_part(field.item(i)));
  }
  return parts;
}

text::ContentPart ResponsesInput::read_part(const JsonField& part) const {
  part.require(Kind::Object, "an object");
  const std::string type = part.member("type").text();
  if (type == "input_text" || type == "output_text" || type == "text" || type == "summary_text") {
    return {.text = part.member("text").text()};
  }
  if (type == "refusal") {
    return {.text = part.member("refusal").text()};
  }
  if (!service_->options().replaces_unsupported) {
    fail(ErrorCode::Unsupported, part.path(), ": expected text; this model reads no ",
         formats::quote(type));
  }
  return {.type = type};
}

}  // namespace fathom::openai
