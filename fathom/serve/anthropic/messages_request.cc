#include "fathom/serve/anthropic/messages_request.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/model/text/json_field.h"
#include "fathom/serve/anthropic/message_blocks.h"
#include "fathom/serve/wire/request_fields.h"
#include "fathom/serve/wire/turn_memory.h"

namespace fathom::anthropic {
namespace {

using engine::ToolChoice;
using text::JsonField;
using text::JsonValue;
using text::Message;
using text::Role;
using Kind = JsonValue::Kind;

constexpr std::int64_t kMostTokens = std::numeric_limits<std::int32_t>::max();
constexpr auto kEfforts =
    std::to_array<std::string_view>({"low", "medium", "high", "xhigh", "max"});
constexpr std::string_view kDefaultEffort = "high";

// Typed tools that the vendor's servers run: a model here is better off not knowing of them. The
// types go on with a date.
constexpr auto kHosted =
    std::to_array<std::string_view>({"web_search_", "web_fetch_", "code_execution_",
                                     "tool_search_tool_", "mcp_toolset", "advisor_"});
// Typed tools that the client runs, whose schemas only the vendor's models know.
constexpr auto kClientRun =
    std::to_array<std::string_view>({"bash_", "text_editor_", "computer_", "memory_"});

bool begins_with_one_of(const auto& prefixes, std::string_view type) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [type](std::string_view prefix) { return type.starts_with(prefix); });
}

void set(JsonValue& object, std::string_view key, const JsonField& value) {
  if (!value.is_absent()) {
    object.keys.emplace_back(key);
    object.items.push_back(value.value());
  }
}

text::Tool read_tool(const JsonField& field) {
  const std::string name = field.member("name").text();
  if (name.empty()) {
    field.member("name").refuse("a name");
  }
  field.member("description").text_or("");
  const JsonField schema = field.member("input_schema");
  schema.require(Kind::Object, "an object");
  JsonValue function;
  function.kind = Kind::Object;
  set(function, "name", field.member("name"));
  set(function, "description", field.member("description"));
  set(function, "parameters", schema);
  return {.name = name,
          .function_json = print_json(function),
          .is_strict = field.member("strict").boolean_or(false),
          .schema_field = schema.path()};
}

std::vector<text::Tool> read_tools(const JsonField& list, bool skips_client_run) {
  std::vector<text::Tool> tools;
  if (!list.has_items()) {
    return tools;
  }
  for (Index i = 0; i < list.size(); ++i) {
    const JsonField field = list.item(i);
    field.require(Kind::Object, "an object");
    const JsonField type_field = field.member("type");
    const std::string type = type_field.text_or("custom");
    if (begins_with_one_of(kHosted, type)) {
      continue;
    }
    if (begins_with_one_of(kClientRun, type)) {
      if (skips_client_run) {
        continue;
      }
      fail(ErrorCode::Unsupported, type_field.path(), ": ", type,
           " is not supported; declare a tool with an input_schema instead");
    }
    if (type != "custom") {
      type_field.refuse("\"custom\" or a server tool");
    }
    text::Tool tool = read_tool(field);
    if (std::any_of(tools.begin(), tools.end(),
                    [&tool](const text::Tool& other) { return other.name == tool.name; })) {
      field.member("name").refuse("a name that no other tool has");
    }
    tools.push_back(std::move(tool));
  }
  return tools;
}

void read_tool_choice(const JsonField& field, engine::GenerateRequest& generate) {
  const JsonField choice = field.object();
  if (choice.is_absent()) {
    return;
  }
  const std::string type = choice.member("type").text();
  if (type == "any") {
    generate.tool_choice = ToolChoice::Required;
  } else if (type == "none") {
    generate.tool_choice = ToolChoice::None;
  } else if (type == "tool") {
    generate.tool_choice = ToolChoice::Named;
    generate.named_tool = choice.member("name").text();
  } else if (type != "auto") {
    choice.member("type").refuse(R"("auto", "any", "tool" or "none")");
  }
  generate.allows_parallel_calls = !choice.member("disable_parallel_tool_use").boolean_or(false);
}

// Thinking is off unless asked for, as with the vendor; its budget is no limit here.
void read_thinking(const JsonField& field, MessagesRequest& request) {
  const JsonField thinking = field.object();
  if (thinking.is_absent()) {
    return;
  }
  const std::string type = thinking.member("type").text();
  if (type != "enabled" && type != "adaptive" && type != "between_tools" && type != "disabled") {
    thinking.member("type").refuse(R"("enabled", "adaptive", "between_tools" or "disabled")");
  }
  request.render.thinking = type != "disabled";
  thinking.member("budget_tokens").integer(0, kMostTokens);
  const std::string display = thinking.member("display").text_or("summarized");
  if (display != "summarized" && display != "omitted" && display != "full") {
    thinking.member("display").refuse(R"("summarized" or "omitted")");
  }
  request.shows_thinking = display != "omitted";
}

void read_output_config(const JsonField& field,
                        MessagesRequest& request,
                        text::Conversation& conversation) {
  const JsonField config = field.object();
  const JsonField effort = config.member("effort");
  if (!effort.is_absent()) {
    request.render.effort = effort.text();
    if (std::find(kEfforts.begin(), kEfforts.end(), *request.render.effort) == kEfforts.end()) {
      effort.refuse(R"(one of "low", "medium", "high", "xhigh", "max")");
    }
  }
  const JsonField format = config.member("format").object();
  if (format.is_absent()) {
    return;
  }
  if (format.member("type").text() != "json_schema") {
    format.member("type").refuse("\"json_schema\"");
  }
  const JsonField schema = format.member("schema");
  schema.require(Kind::Object, "an object");
  request.generate.content = {.kind = engine::ContentRule::Kind::JsonSchema,
                              .text = print_json(schema.value())};
  conversation.response_format = request.generate.content.text;
}

void check_unsupported(const JsonField& body) {
  for (const char* const name : {"mcp_servers", "container"}) {
    const JsonField field = body.member(name);
    if (!field.is_absent() && !(field.is(Kind::Array) && field.size() == 0)) {
      fail(ErrorCode::Unsupported, field.path(), ": not supported; this server runs no tools");
    }
  }
}

// The thread that a request goes on with; null for a new one and without threads.
wire::StoredConversationPtr read_thread(const JsonField& field,
                                        wire::Service& service,
                                        MessagesRequest& request) {
  const JsonField thread = field.object();
  if (thread.is_absent()) {
    return nullptr;
  }
  if (!service.store()->is_on()) {
    fail(ErrorCode::InvalidArgument, thread.path(),
         ": this server keeps no conversations; send all messages");
  }
  request.is_thread = true;
  const std::string type = thread.member("type").text();
  if (type == "create") {
    return nullptr;
  }
  if (type != "continue") {
    thread.member("type").refuse(R"("create" or "continue")");
  }
  const JsonField id = thread.member("previous_message_id");
  wire::StoredConversationPtr previous = service.store()->find(request.owner, id.text());
  if (previous == nullptr || !previous->is_retrievable) {
    fail(ErrorCode::NotFound, id.path(),
         ": no such message in a thread that is still kept; send all messages");
  }
  return previous;
}

// What a reply can follow: a user's turn, or the beginning of the reply itself.
void check_messages(std::vector<Message>& messages, const JsonField& field) {
  const auto is_system = [](const Message& message) { return message.role == Role::System; };
  if (std::all_of(messages.begin(), messages.end(), is_system)) {
    field.refuse("at least one message of a user");
  }
  Message& last = messages.back();
  if (last.role != Role::Assistant) {
    return;
  }
  if (!last.tool_calls.empty()) {
    fail(ErrorCode::InvalidArgument, field.path(), ": expected the tool_result of \"",
         last.tool_calls.back().id, "\" at the end");
  }
  last.ending = text::Ending::Prefix;
}

// Everything said, with what a thread keeps where the request leaves it out.
text::Conversation read_conversation(const JsonField& body,
                                     wire::Service& service,
                                     MessagesRequest& request) {
  const wire::StoredConversationPtr previous = read_thread(body.member("thread"), service, request);
  text::Conversation conversation;
  conversation.system_messages = text::SystemMessages::Folded;
  conversation.tools = read_tools(body.member("tools"), service.options().replaces_unsupported);
  std::vector<text::ContentPart> system = read_system(body.member("system"));
  MessageBlocks blocks(service, request.owner);
  if (previous) {
    const text::Conversation& kept = previous->conversation;
    request.render = previous->render;
    if (body.member("tools").is_absent()) {
      conversation.tools = kept.tools;
    }
    const bool has_system = !kept.messages.empty() && kept.messages.front().role == Role::System;
    if (has_system && !body.member("system").is_absent()) {
      blocks.add_history({kept.messages.begin() + 1, kept.messages.end()});
    } else {
      blocks.add_history(kept.messages);
    }
  }
  blocks.add(body.member("messages"));
  conversation.messages = blocks.messages();
  check_messages(conversation.messages, body.member("messages"));
  if (!system.empty()) {
    conversation.messages.insert(conversation.messages.begin(),
                                 {.role = Role::System, .content = std::move(system)});
  }
  wire::restore_turns(conversation.messages, *service.store(), request.owner);
  return conversation;
}

}  // namespace

MessagesRequest read_messages_request(const http::Request& http_request,
                                      const JsonValue& json,
                                      wire::Service& service,
                                      Purpose purpose) {
  const JsonField body(&json);
  MessagesRequest request;
  request.owner = http_request.key_name;
  request.render = {.thinking = false, .effort = std::string(kDefaultEffort)};
  request.model = body.member("model").text_or("");
  check_unsupported(body);
  request.is_stream = body.member("stream").boolean_or(false);
  engine::GenerateRequest& generate = request.generate;
  text::Conversation conversation = read_conversation(body, service, request);
  read_thinking(body.member("thinking"), request);
  read_output_config(body.member("output_config"), request, conversation);
  read_tool_choice(body.member("tool_choice"), generate);
  wire::read_sampling(body, generate);
  wire::read_scheduling(body, generate);
  generate.max_tokens = body.member("max_tokens").integer(1, kMostTokens);
  if (!generate.max_tokens && purpose == Purpose::Message) {
    body.member("max_tokens").refuse("an integer of at least 1");
  }
  generate.stop_strings = wire::read_stop_strings(body.member("stop_sequences"));
  // Agents name a session in metadata.user_id: with it in the scope, no session would share the
  // long system prompt of another.
  body.member("metadata").object().member("user_id").text_or("");
  generate.cache_scope = wire::cache_scope(http_request, "");
  request.history = conversation;
  request.history.response_format.clear();
  generate.prompt =
      engine::ChatPrompt{.conversation = std::move(conversation), .render = request.render};
  return request;
}

}  // namespace fathom::anthropic
