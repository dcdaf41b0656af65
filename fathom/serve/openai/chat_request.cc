#include "fathom/serve/openai/chat_request.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/model/text/conversation_json.h"
#include "fathom/model/text/json_field.h"
#include "fathom/serve/wire/request_fields.h"

namespace fathom::openai {
namespace {

using engine::ContentRule;
using engine::GenerateRequest;
using engine::ToolChoice;
using text::JsonField;
using Kind = text::JsonValue::Kind;

constexpr Index kMostTopLogprobs = 20;
constexpr Index kMostChoices = 128;
constexpr std::int64_t kMostTokens = std::numeric_limits<std::int32_t>::max();

// What would change the answer if it were done, and is not.
struct RefusedField {
  std::string_view name;
  std::string_view instead;
};
constexpr auto kRefused = std::to_array<RefusedField>({
    {"functions", "tools instead"},
    {"function_call", "tool_choice instead"},
    {"audio", "nothing: this server makes text"},
    {"web_search_options", "nothing: this server searches nothing"},
    {"chat_template", "nothing: the model's own form of conversation is used"},
    {"documents", "them as text of a message"},
    {"prompt_logprobs", "echo and logprobs of /v1/completions instead"},
    {"echo", "echo of /v1/completions instead"},
    {"return_token_ids", "POST /tokenize instead"},
});

bool is_set(const JsonField& field) {
  return !field.is_absent() && !(field.is(Kind::Boolean) && !field.value().boolean) &&
         !(field.is(Kind::Array) && field.value().items.empty());
}

void refuse_unsupported(const JsonField& body) {
  for (const RefusedField& refused : kRefused) {
    if (is_set(body.member(refused.name))) {
      fail(ErrorCode::Unsupported, refused.name, ": not supported, expected ", refused.instead);
    }
  }
  const JsonField modalities = body.member("modalities");
  for (Index i = 0; modalities.has_items() && i < modalities.size(); ++i) {
    if (modalities.item(i).text() != "text") {
      fail(ErrorCode::Unsupported, modalities.item(i).path(), ": expected \"text\" only");
    }
  }
  if (!body.member("add_generation_prompt").boolean_or(true) &&
      !body.member("continue_final_message").boolean_or(false)) {
    fail(ErrorCode::Unsupported,
         "add_generation_prompt: expected true: a reply is what this server makes");
  }
}

bool is_text(std::string_view type) {
  return type == "text" || type == "input_text" || type == "output_text" || type == "refusal";
}

// The conversation's reader checks types; here is only what a model of text cannot take.
void refuse_other_content(const JsonField& messages) {
  for (Index i = 0; i < messages.size(); ++i) {
    const JsonField message = messages.item(i);
    const JsonField call = message.member("function_call");
    if (is_set(call)) {
      fail(ErrorCode::Unsupported, call.path(), ": not supported, expected tool_calls instead");
    }
    const JsonField content = message.member("content");
    for (Index j = 0; content.is(Kind::Array) && j < content.size(); ++j) {
      const JsonField type = content.item(j).member("type");
      if (!is_text(type.text())) {
        fail(ErrorCode::Unsupported, content.item(j).path(), ": this model reads text only, found ",
             type.text().substr(0, 40));
      }
    }
  }
}

void check_effort(const JsonField& field) {
  constexpr auto kEfforts = std::to_array<std::string_view>(
      {"none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"});
  if (!field.is_absent() &&
      std::find(kEfforts.begin(), kEfforts.end(), field.text()) == kEfforts.end()) {
    field.refuse(R"(one of "none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")");
  }
}

void read_prompt(const JsonField& body, const wire::ServiceOptions& options, GenerateRequest& out) {
  check_effort(body.member("reasoning_effort"));
  check_effort(body.member("chat_template_kwargs").object().member("reasoning_effort"));
  text::ConversationFile file = text::read_chat_request(body.value());
  if (!options.replaces_unsupported) {
    refuse_other_content(body.member("messages"));
  }
  out.prompt = engine::ChatPrompt{.conversation = std::move(file.conversation),
                                  .render = std::move(file.options)};
}

void read_tool_choice(const JsonField& field, GenerateRequest& request) {
  if (field.is_absent()) {
    return;
  }
  if (field.is(Kind::Object)) {
    const JsonField type = field.member("type");
    if (type.text_or("") != "function") {
      type.refuse(R"("function")");
    }
    request.tool_choice = ToolChoice::Named;
    request.named_tool = field.member("function").object().member("name").text();
    return;
  }
  const std::string name = field.is(Kind::String) ? field.value().text : "";
  if (name != "auto" && name != "none" && name != "required") {
    field.refuse(R"("auto", "none", "required" or a function)");
  }
  request.tool_choice = name == "auto"   ? ToolChoice::Auto
                        : name == "none" ? ToolChoice::None
                                         : ToolChoice::Required;
}

// Returns the path of the field that constrains the content.
std::string read_content_rule(const JsonField& body, GenerateRequest& request) {
  const JsonField format = body.member("response_format").object();
  const std::string type = format.member("type").text_or("text");
  std::string path;
  if (type == "json_object") {
    request.content.kind = ContentRule::Kind::JsonObject;
    path = format.path();
  } else if (type == "json_schema") {
    const auto& chat = std::get<engine::ChatPrompt>(request.prompt);
    request.content = {.kind = ContentRule::Kind::JsonSchema,
                       .text = chat.conversation.response_format};
    path = format.path();
  }
  const std::string other = wire::read_structured_outputs(body, request.content);
  return other.empty() ? path : other;
}

void read_lengths(const JsonField& body, GenerateRequest& request) {
  const auto older = body.member("max_tokens").integer(1, kMostTokens);
  const auto newer = body.member("max_completion_tokens").integer(1, kMostTokens);
  request.max_tokens = newer ? newer : older;
  request.num_choices = body.member("n").integer(1, kMostChoices).value_or(1);
  request.stop_strings = wire::read_stop_strings(body.member("stop"));
}

bool read_logprobs(const JsonField& body, GenerateRequest& request) {
  const bool has_logprobs = body.member("logprobs").boolean_or(false);
  const Index num_top = body.member("top_logprobs").integer(0, kMostTopLogprobs).value_or(0);
  if (num_top > 0 && !has_logprobs) {
    fail(ErrorCode::InvalidArgument, "top_logprobs: expected logprobs to be true beside it");
  }
  if (has_logprobs) {
    request.sampling.num_top_logprobs = num_top;
  }
  return has_logprobs;
}

}  // namespace

ChatRequest read_chat(const text::JsonValue& value,
                      const http::Request& request,
                      const wire::ServiceOptions& options) {
  const JsonField body(&value);
  ChatRequest chat;
  chat.model = body.member("model").text_or("");
  refuse_unsupported(body);
  GenerateRequest& generate = chat.generate;
  read_prompt(body, options, generate);
  read_lengths(body, generate);
  wire::read_sampling(body, generate);
  wire::read_scheduling(body, generate);
  chat.has_logprobs = read_logprobs(body, generate);
  chat.constraint_field = read_content_rule(body, generate);
  read_tool_choice(body.member("tool_choice"), generate);
  generate.allows_parallel_calls = body.member("parallel_tool_calls").boolean_or(true);
  chat.is_streamed = body.member("stream").boolean_or(false);
  chat.includes_usage =
      body.member("stream_options").object().member("include_usage").boolean_or(false);
  generate.wants_progress = body.member("return_progress").boolean_or(false);
  const JsonField user = body.member("user_id");
  generate.cache_scope =
      wire::cache_scope(request, (user.is_absent() ? body.member("user") : user).text_or(""));
  return chat;
}

}  // namespace fathom::openai
