#include "fathom/serve/anthropic/message_blocks.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/json_value.h"

namespace fathom::anthropic {
namespace {

using text::ContentPart;
using text::JsonField;
using text::JsonValue;
using text::Message;
using text::Role;
using Kind = JsonValue::Kind;

constexpr std::string_view kBillingHeader = "x-anthropic-billing-header:";

// What tools leave behind that ran on the server that answered before, and reasoning that only
// that server can read.
constexpr auto kSkipped = std::to_array<std::string_view>(
    {"server_tool_use", "web_search_tool_result", "web_fetch_tool_result",
     "code_execution_tool_result", "bash_code_execution_tool_result",
     "text_editor_code_execution_tool_result", "tool_search_tool_result", "mcp_tool_use",
     "mcp_tool_result", "redacted_thinking"});

bool is_skipped(std::string_view type) {
  return std::find(kSkipped.begin(), kSkipped.end(), type) != kSkipped.end();
}

std::string_view without_billing_header(std::string_view text) {
  if (!text.starts_with(kBillingHeader)) {
    return text;
  }
  const std::size_t end = text.find('\n');
  return end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
}

}  // namespace

std::vector<ContentPart> read_system(const JsonField& field) {
  std::vector<ContentPart> parts;
  const auto add = [&parts](const std::string& text) {
    const std::string_view rest = without_billing_header(text);
    if (!rest.empty()) {
      parts.push_back({.text = std::string(rest)});
    }
  };
  if (field.is_absent()) {
    return parts;
  }
  if (field.is(Kind::String)) {
    add(field.value().text);
    return parts;
  }
  field.require(Kind::Array, "a string or a list of text blocks");
  for (Index i = 0; i < field.size(); ++i) {
    const JsonField block = field.item(i);
    block.require(Kind::Object, "an object");
    if (block.member("type").text_or("text") != "text") {
      block.member("type").refuse("\"text\"");
    }
    add(block.member("text").text());
  }
  return parts;
}

void MessageBlocks::add_history(const std::vector<Message>& messages) {
  for (const Message& message : messages) {
    for (const text::ToolCall& call : message.tool_calls) {
      call_ids_.insert(call.id);
    }
  }
  messages_.insert(messages_.end(), messages.begin(), messages.end());
}

void MessageBlocks::add(const JsonField& messages) {
  messages.require(Kind::Array, "a list of messages");
  for (Index i = 0; i < messages.size(); ++i) {
    add_message(messages.item(i));
  }
}

void MessageBlocks::add_message(const JsonField& field) {
  field.require(Kind::Object, "an object");
  const JsonField role_field = field.member("role");
  const std::string role = role_field.is(Kind::String) ? role_field.value().text : "";
  const JsonField content = field.member("content");
  if (role == "user") {
    add_user(content);
  } else if (role == "assistant") {
    add_assistant(content);
  } else if (role == "system") {
    messages_.push_back({.role = Role::System, .content = read_system(content)});
  } else {
    role_field.refuse(R"("user", "assistant" or "system")");
  }
}

// Results and text of a user are messages of their own here; the model's format puts them into one
// turn again.
void MessageBlocks::add_user(const JsonField& content) {
  if (!content.is(Kind::Array)) {
    messages_.push_back({.role = Role::User, .content = {{.text = content.text()}}});
    return;
  }
  bool is_open = false;
  for (Index i = 0; i < content.size(); ++i) {
    const JsonField block = content.item(i);
    block.require(Kind::Object, "an object");
    if (block.member("type").text() == "tool_result") {
      add_result(block);
      is_open = false;
      continue;
    }
    if (!is_open) {
      messages_.push_back({.role = Role::User});
      is_open = true;
    }
    read_part(block, messages_.back().content);
  }
  if (content.size() == 0) {
    messages_.push_back({.role = Role::User});
  }
}

void MessageBlocks::add_result(const JsonField& block) {
  const JsonField id = block.member("tool_use_id");
  Message message = {.role = Role::Tool, .tool_call_id = id.text()};
  if (call_ids_.count(message.tool_call_id) == 0) {
    id.refuse("the id of an earlier tool_use");
  }
  message.content = read_parts(block.member("content"));
  // What is said to have failed may look like a success.
  if (block.member("is_error").boolean_or(false)) {
    const bool is_text = !message.content.empty() && message.content.front().type == "text";
    if (!is_text) {
      message.content.insert(message.content.begin(), {.text = "Error"});
    } else if (!message.content.front().text.starts_with("Error")) {
      message.content.front().text.insert(0, "Error: ");
    }
  }
  messages_.push_back(std::move(message));
}

void MessageBlocks::add_assistant(const JsonField& content) {
  Message message = {.role = Role::Assistant};
  if (!content.is(Kind::Array)) {
    message.content = {{.text = content.text()}};
    messages_.push_back(std::move(message));
    return;
  }
  for (Index i = 0; i < content.size(); ++i) {
    const JsonField block = content.item(i);
    block.require(Kind::Object, "an object");
    const std::string type = block.member("type").text();
    if (type == "thinking") {
      message.reasoning += read_thinking(block);
    } else if (type == "tool_use") {
      const JsonField input = block.member("input").object();
      message.tool_calls.push_back(
          {.id = block.member("id").text(),
           .name = block.member("name").text(),
           .arguments = input.is_absent() ? "{}" : print_json(input.value())});
      call_ids_.insert(message.tool_calls.back().id);
    } else {
      read_part(block, message.content);
    }
  }
  messages_.push_back(std::move(message));
}

// The signature restores what the model thought, to the byte and where it was not shown. One that
// does not open (another server's, or from before a restart) is no reason to end a conversation:
// the text counts then.
std::string MessageBlocks::read_thinking(const JsonField& block) const {
  std::string shown = block.member("thinking").text_or("");
  const std::string signature = block.member("signature").text_or("");
  return service_->seal().open(owner_, signature).value_or(std::move(shown));
}

std::vector<ContentPart> MessageBlocks::read_parts(const JsonField& content) const {
  std::vector<ContentPart> parts;
  if (content.is_absent()) {
    return parts;
  }
  if (content.is(Kind::String)) {
    return {{.text = content.value().text}};
  }
  content.require(Kind::Array, "a string or a list of blocks");
  for (Index i = 0; i < content.size(); ++i) {
    content.item(i).require(Kind::Object, "an object");
    read_part(content.item(i), parts);
  }
  return parts;
}

void MessageBlocks::read_part(const JsonField& block, std::vector<ContentPart>& parts) const {
  const std::string type = block.member("type").text();
  if (type == "text") {
    parts.push_back({.text = block.member("text").text()});
  } else if (type == "document") {
    read_document(block, parts);
  } else if (type == "search_result") {
    std::vector<ContentPart> found = read_parts(block.member("content"));
    parts.push_back(
        {.text = block.member("title").text_or("") + "\n" + block.member("source").text_or("")});
    parts.insert(parts.end(), found.begin(), found.end());
  } else if (type == "tool_reference") {
    // Every tool is declared from the start here, also those that may be loaded late.
    parts.push_back({.text = "Tool: " + block.member("tool_name").text()});
  } else if (!is_skipped(type)) {
    replace(block, parts);
  }
}

void MessageBlocks::read_document(const JsonField& block, std::vector<ContentPart>& parts) const {
  const JsonField source = block.member("source").object();
  const std::string type = source.member("type").text_or("");
  if (type != "text" && type != "content") {
    replace(block, parts);
    return;
  }
  const std::string title = block.member("title").text_or("");
  if (!title.empty()) {
    parts.push_back({.text = title});
  }
  if (type == "text") {
    parts.push_back({.text = source.member("data").text()});
    return;
  }
  std::vector<ContentPart> nested = read_parts(source.member("content"));
  parts.insert(parts.end(), nested.begin(), nested.end());
}

void MessageBlocks::replace(const JsonField& block, std::vector<ContentPart>& parts) const {
  const std::string type = block.member("type").text();
  if (!service_->options().replaces_unsupported) {
    fail(ErrorCode::Unsupported, block.path(), ": expected text; this model reads no ",
         formats::quote(type));
  }
  parts.push_back({.type = type});
}

}  // namespace fathom::anthropic
