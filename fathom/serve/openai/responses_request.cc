#include "fathom/serve/openai/responses_request.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "fathom/base/core/error.h"
#include "fathom/serve/openai/responses_input.h"
#include "fathom/serve/wire/request_fields.h"
#include "fathom/serve/wire/turn_memory.h"

namespace fathom::openai {
namespace {

using engine::ContentRule;
using engine::ToolChoice;
using text::JsonField;
using text::JsonValue;
using text::Message;
using text::Role;
using Kind = JsonValue::Kind;

constexpr std::int64_t kMostTokens = std::numeric_limits<std::int32_t>::max();
constexpr Index kMostTopLogprobs = 20;
constexpr auto kEfforts = std::to_array<std::string_view>(
    {"none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"});
constexpr std::string_view kDefaultEffort = "high";

// What `include` may name. Only the first two mean anything here; the others ask for more about
// hosted tools, of which there are none.
constexpr std::string_view kSealedReasoning = "reasoning.encrypted_content";
constexpr std::string_view kLogprobs = "message.output_text.logprobs";
constexpr auto kIncludable = std::to_array<std::string_view>(
    {kSealedReasoning, kLogprobs, "web_search_call.action.sources", "web_search_call.results",
     "file_search_call.results", "code_interpreter_call.outputs",
     "computer_call_output.output.image_url", "message.input_image.image_url"});

[[noreturn]] void refuse_unsupported(const JsonField& field, std::string_view advice) {
  fail(ErrorCode::Unsupported, field.path(), ": not supported; ", advice);
}

void check_unsupported(const JsonField& body) {
  if (body.member("background").boolean_or(false)) {
    refuse_unsupported(body.member("background"), "ask with stream instead");
  }
  if (!body.member("conversation").is_absent()) {
    refuse_unsupported(body.member("conversation"), "use previous_response_id");
  }
  if (!body.member("prompt").is_absent()) {
    refuse_unsupported(body.member("prompt"), "send instructions and input");
  }
  if (body.member("truncation").text_or("disabled") != "disabled") {
    refuse_unsupported(body.member("truncation"), R"(expected "disabled")");
  }
  if (body.member("context_management").has_items()) {
    refuse_unsupported(body.member("context_management"), "shorten the input instead");
  }
}

void read_include(const JsonField& include, ResponsesRequest& request) {
  if (include.has_items()) {
    for (Index i = 0; i < include.size(); ++i) {
      const std::string name = include.item(i).text();
      if (std::find(kIncludable.begin(), kIncludable.end(), name) == kIncludable.end()) {
        include.item(i).refuse(
            R"("reasoning.encrypted_content" or "message.output_text.logprobs")");
      }
      request.wants_sealed_reasoning = request.wants_sealed_reasoning || name == kSealedReasoning;
      request.has_logprobs = request.has_logprobs || name == kLogprobs;
    }
  }
}

// Whoever says how many of the likeliest tokens to tell wants them told.
void read_logprobs(const JsonField& body, ResponsesRequest& request) {
  const Index num_top = body.member("top_logprobs").integer(0, kMostTopLogprobs).value_or(0);
  request.has_logprobs = request.has_logprobs || num_top > 0;
  if (request.has_logprobs) {
    request.generate.sampling.num_top_logprobs = num_top;
  }
}

// Reasoning is on unless the effort is "none", as in chat completions.
void read_reasoning(const JsonField& field,
                    ResponsesRequest& request,
                    text::RenderOptions& render) {
  const JsonField reasoning = field.object();
  const std::string effort = reasoning.member("effort").text_or(kDefaultEffort);
  if (std::find(kEfforts.begin(), kEfforts.end(), effort) == kEfforts.end()) {
    reasoning.member("effort").refuse(
        R"(one of "none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")");
  }
  render.thinking = effort != "none";
  render.effort = render.thinking ? effort : std::string(kDefaultEffort);
  const JsonField summary = reasoning.member("summary");
  const std::string kind =
      (summary.is_absent() ? reasoning.member("generate_summary") : summary).text_or("none");
  if (kind != "none" && kind != "auto" && kind != "concise" && kind != "detailed") {
    summary.refuse(R"("auto", "concise" or "detailed")");
  }
  request.wants_summary = kind != "none";
}

void read_format(const JsonField& format, ContentRule& rule, text::Conversation& conversation) {
  const std::string type = format.member("type").text_or("text");
  if (type == "json_object") {
    rule.kind = ContentRule::Kind::JsonObject;
  } else if (type == "json_schema") {
    const JsonField schema = format.member("schema");
    schema.require(Kind::Object, "an object");
    rule = {.kind = ContentRule::Kind::JsonSchema, .text = print_json(schema.value())};
    conversation.response_format = rule.text;
  } else if (type != "text") {
    format.member("type").refuse(R"("text", "json_object" or "json_schema")");
  }
}

ToolChoice read_mode(const JsonField& field) {
  const std::string mode = field.text_or("auto");
  if (mode != "auto" && mode != "none" && mode != "required") {
    field.refuse(R"("auto", "none" or "required")");
  }
  return mode == "auto"   ? ToolChoice::Auto
         : mode == "none" ? ToolChoice::None
                          : ToolChoice::Required;
}

void read_tool_choice(const JsonField& choice, ResponsesRequest& request) {
  engine::GenerateRequest& generate = request.generate;
  if (choice.is_absent() || choice.is(Kind::String)) {
    generate.tool_choice = read_mode(choice);
    return;
  }
  choice.require(Kind::Object, "a string or an object");
  const std::string type = choice.member("type").text();
  if (type == "function" || type == "custom") {
    generate.tool_choice = ToolChoice::Named;
    generate.named_tool = request.tools.chosen(choice).flat_name;
  } else if (type == "allowed_tools") {
    generate.tool_choice = read_mode(choice.member("mode"));
    request.tools.keep_only(choice.member("tools"));
  } else {
    refuse_unsupported(choice.member("type"),
                       "expected \"function\", \"custom\" or \"allowed_tools\"");
  }
}

wire::StoredConversationPtr find_previous(const JsonField& id,
                                          wire::Service& service,
                                          const std::string& owner) {
  if (id.is_absent()) {
    return nullptr;
  }
  if (!service.store()->is_on()) {
    fail(ErrorCode::InvalidArgument, id.path(),
         ": this server stores no responses; replay the full input");
  }
  wire::StoredConversationPtr previous = service.store()->find(owner, id.text());
  if (previous == nullptr || !previous->is_retrievable) {
    id.refuse("the id of a response that this server still stores (else replay the full input)");
  }
  return previous;
}

// What a reply can follow: a user's turn, or the beginning of the reply itself.
void check_messages(std::vector<Message>& messages, const JsonField& input) {
  if (messages.empty()) {
    input.refuse("a text or at least one item");
  }
  const bool are_system = std::all_of(messages.begin(), messages.end(), [](const Message& message) {
    return message.role == Role::System;
  });
  if (are_system) {
    messages.back().role = Role::User;
  }
  Message& last = messages.back();
  if (last.role != Role::Assistant) {
    return;
  }
  if (!last.tool_calls.empty()) {
    fail(ErrorCode::InvalidArgument, input.path(), ": expected the output of call \"",
         last.tool_calls.back().id, "\" at the end");
  }
  last.ending = text::Ending::Prefix;
}

std::string json_of(const JsonField& field, std::string_view absent) {
  return field.is_absent() ? std::string(absent) : print_json(field.value());
}

std::vector<std::pair<std::string, std::string>> read_echo(const JsonField& body) {
  struct Echoed {
    std::string_view name;
    std::string_view absent;
  };
  constexpr auto kEchoed = std::to_array<Echoed>({
      {"instructions", "null"},
      {"max_output_tokens", "null"},
      {"max_tool_calls", "null"},
      {"metadata", "{}"},
      {"parallel_tool_calls", "true"},
      {"previous_response_id", "null"},
      {"prompt_cache_key", "null"},
      {"reasoning", R"({"effort": null, "summary": null})"},
      {"safety_identifier", "null"},
      {"service_tier", "\"default\""},
      {"store", "true"},
      {"temperature", "1.0"},
      {"text", R"({"format": {"type": "text"}})"},
      {"tool_choice", "\"auto\""},
      {"tools", "[]"},
      {"top_logprobs", "0"},
      {"top_p", "1.0"},
      {"truncation", "\"disabled\""},
      {"user", "null"},
  });
  std::vector<std::pair<std::string, std::string>> echo;
  for (const Echoed& field : kEchoed) {
    echo.emplace_back(field.name, json_of(body.member(field.name), field.absent));
  }
  return echo;
}

// The conversation so far, and as this request asks for it.
void read_conversation(const JsonField& body, wire::Service& service, ResponsesRequest& request) {
  const wire::StoredConversationPtr previous =
      find_previous(body.member("previous_response_id"), service, request.owner);
  ResponsesInput input(service, request.owner, request.tools);
  if (previous) {
    input.add_history(previous->conversation.messages);
  }
  input.add(body.member("input"));
  request.history.messages = input.messages();
  check_messages(request.history.messages, body.member("input"));
  wire::restore_turns(request.history.messages, *service.store(), request.owner);

  engine::ChatPrompt prompt;
  prompt.conversation.system_messages = text::SystemMessages::Folded;
  prompt.conversation.messages = request.history.messages;
  const std::string instructions = body.member("instructions").text_or("");
  if (!instructions.empty()) {
    prompt.conversation.messages.insert(
        prompt.conversation.messages.begin(),
        {.role = Role::System, .content = {{.text = instructions}}});
  }
  request.generate.prompt = std::move(prompt);
}

}  // namespace

ResponsesRequest read_responses_request(const http::Request& http_request,
                                        const JsonValue& json,
                                        wire::Service& service) {
  const JsonField body(&json);
  ResponsesRequest request;
  request.owner = http_request.key_name;
  request.model = body.member("model").text_or("");
  check_unsupported(body);
  request.is_stream = body.member("stream").boolean_or(false);
  request.is_stored = body.member("store").boolean_or(true);
  read_include(body.member("include"), request);
  request.tools.add(body.member("tools"));
  read_conversation(body, service, request);
  read_tool_choice(body.member("tool_choice"), request);

  engine::GenerateRequest& generate = request.generate;
  auto& prompt = std::get<engine::ChatPrompt>(generate.prompt);
  prompt.conversation.tools = request.tools.declared();
  read_reasoning(body.member("reasoning"), request, prompt.render);
  read_format(body.member("text").object().member("format").object(), generate.content,
              prompt.conversation);
  body.member("metadata").object();
  wire::read_sampling(body, generate);
  wire::read_scheduling(body, generate);
  read_logprobs(body, request);
  generate.max_tokens = body.member("max_output_tokens").integer(1, kMostTokens);
  generate.allows_parallel_calls = body.member("parallel_tool_calls").boolean_or(true);
  generate.stop_strings = wire::read_stop_strings(body.member("stop"));
  generate.cache_scope = wire::cache_scope(http_request, body.member("user").text_or(""));
  request.echo = read_echo(body);
  return request;
}

}  // namespace fathom::openai
