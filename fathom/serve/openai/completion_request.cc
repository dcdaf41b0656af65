#include "fathom/serve/openai/completion_request.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/model/text/json_field.h"
#include "fathom/serve/wire/request_fields.h"

namespace fathom::openai {
namespace {

using engine::GenerateRequest;
using engine::Prompt;
using text::JsonField;
using Kind = text::JsonValue::Kind;

constexpr Index kMostTopLogprobs = 20;
constexpr Index kMostChoices = 128;
constexpr Index kMostReplies = 2048;  // to all prompts of a request
constexpr std::int64_t kMostTokens = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kDefaultTokens = 16;  // as every server of this API does

Prompt read_ids(const JsonField& field) {
  if (!field.has_items()) {
    field.refuse("at least one token id");
  }
  return engine::TokenPrompt{wire::read_token_ids(field)};
}

// A text, a list of texts, a list of ids, or a list of lists of ids.
std::vector<Prompt> read_prompts(const JsonField& field, bool add_bos) {
  constexpr std::string_view kForms = "a string, token ids, or a list of either";
  if (field.is(Kind::String)) {
    return {engine::TextPrompt{.text = field.text(), .add_bos = add_bos}};
  }
  field.require(Kind::Array, kForms);
  if (field.size() == 0) {
    field.refuse("at least one prompt");
  }
  if (field.item(0).is(Kind::Number)) {
    return {read_ids(field)};
  }
  std::vector<Prompt> prompts;
  for (Index i = 0; i < field.size(); ++i) {
    const JsonField item = field.item(i);
    if (item.is(Kind::Array)) {
      prompts.push_back(read_ids(item));
    } else {
      item.require(Kind::String, "a string or token ids");
      prompts.push_back(engine::TextPrompt{.text = item.text(), .add_bos = add_bos});
    }
  }
  return prompts;
}

void set_suffix(const JsonField& field, std::vector<Prompt>& prompts) {
  if (field.is_absent()) {
    return;
  }
  const std::string suffix = field.text();
  for (Prompt& prompt : prompts) {
    auto* const text = std::get_if<engine::TextPrompt>(&prompt);
    if (text == nullptr) {
      fail(ErrorCode::InvalidArgument, "suffix: expected a prompt of text beside it");
    }
    text->suffix = suffix;
  }
}

void read_choices(const JsonField& body, CompletionRequest& completion, GenerateRequest& request) {
  completion.num_choices = body.member("n").integer(1, kMostChoices).value_or(1);
  const JsonField best = body.member("best_of");
  request.num_choices = best.integer(1, kMostChoices).value_or(completion.num_choices);
  if (request.num_choices < completion.num_choices) {
    best.refuse("at least n");
  }
  if (completion.is_streamed && request.num_choices > completion.num_choices) {
    fail(ErrorCode::InvalidArgument, "best_of: expected no stream: the best is known at the end");
  }
}

void read_logprobs(const JsonField& body, CompletionRequest& completion, GenerateRequest& request) {
  const auto num_top = body.member("logprobs").integer(0, kMostTopLogprobs);
  completion.has_logprobs = num_top.has_value();
  request.sampling.num_top_logprobs = num_top;
  if (!num_top && request.num_choices > completion.num_choices) {
    request.sampling.num_top_logprobs = 0;  // by which the best of them are chosen
  }
  completion.echoes_prompt = body.member("echo").boolean_or(false);
  if (completion.echoes_prompt && num_top) {
    request.num_prompt_logprobs = num_top;
  }
}

void refuse_unsupported(const JsonField& body, const CompletionRequest& completion) {
  for (const char* const name : {"prompt_embeds", "prompt_logprobs"}) {
    if (!body.member(name).is_absent()) {
      fail(ErrorCode::Unsupported, name, ": not supported; echo with logprobs scores a prompt");
    }
  }
  const bool has_suffix = !body.member("suffix").is_absent();
  if (has_suffix && completion.echoes_prompt && completion.has_logprobs) {
    fail(ErrorCode::Unsupported, "suffix: expected none beside echo and logprobs");
  }
}

}  // namespace

CompletionRequest read_completion(const text::JsonValue& value, const http::Request& request) {
  const JsonField body(&value);
  CompletionRequest completion;
  GenerateRequest common;
  completion.model = body.member("model").text_or("");
  completion.is_streamed = body.member("stream").boolean_or(false);
  completion.includes_usage =
      body.member("stream_options").object().member("include_usage").boolean_or(false);
  read_choices(body, completion, common);
  read_logprobs(body, completion, common);
  refuse_unsupported(body, completion);
  common.max_tokens = body.member("max_tokens").integer(0, kMostTokens).value_or(kDefaultTokens);
  common.stop_strings = wire::read_stop_strings(body.member("stop"));
  wire::read_sampling(body, common);
  wire::read_scheduling(body, common);
  completion.constraint_field = wire::read_structured_outputs(body, common.content);
  const JsonField user = body.member("user_id");
  common.cache_scope =
      wire::cache_scope(request, (user.is_absent() ? body.member("user") : user).text_or(""));

  const JsonField prompt = body.member("prompt");
  std::vector<Prompt> prompts =
      read_prompts(prompt, body.member("add_special_tokens").boolean_or(true));
  set_suffix(body.member("suffix"), prompts);
  if (to_index(prompts.size()) * common.num_choices > kMostReplies) {
    fail(ErrorCode::InvalidArgument, "prompt: expected at most ", kMostReplies,
         " replies in all, found ", prompts.size(), " prompts with ", common.num_choices, " each");
  }
  completion.generate.assign(prompts.size(), common);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    completion.generate[i].prompt = std::move(prompts[i]);
  }
  return completion;
}

}  // namespace fathom::openai
