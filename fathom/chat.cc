#include "fathom/chat.h"

#include <algorithm>
#include <span>
#include <utility>

#include "fathom/base/platform/clock.h"
#include "fathom/model/text/prompt_reuse.h"

namespace fathom {
namespace {

using platform::Clock;
using platform::seconds_since;

// Prompt tokens between two looks at is_stopped. Does not change a bit of the results.
constexpr std::int64_t kPromptStep = 256;

constexpr std::string_view kEndOfThink = "</think>";
constexpr std::string_view kDsml = "｜DSML｜";

bool is_stopped(const ReplyHooks& hooks) {
  return hooks.is_stopped && hooks.is_stopped();
}

void hand_out_events(text::ReplyParser& parser, const ReplyHooks& hooks) {
  for (const text::ReplyEvent& event : parser.take_events()) {
    if (hooks.on_event) {
      hooks.on_event(event);
    }
  }
}

std::vector<text::Tool> tools_of(const text::Conversation& conversation) {
  std::vector<text::Tool> tools = conversation.tools;
  for (const text::Message& message : conversation.messages) {
    tools.insert(tools.end(), message.tools.begin(), message.tools.end());
  }
  return tools;
}

text::ReplyRules reply_rules(bool is_dsml,
                             const std::vector<text::Tool>& tools,
                             const ReplyOptions& options) {
  text::ReplyRules rules;
  rules.input = text::ReplyInput::Tokens;
  rules.think_tags = is_dsml ? text::ThinkTags::Fixed : text::ThinkTags::None;
  if (is_dsml && !tools.empty()) {
    rules.tools = tools;
  }
  rules.stop_strings = options.stop;
  return rules;
}

}  // namespace

TextSession::TextSession(std::shared_ptr<Model> model, TextModel text_model)
    : model_(std::move(model)), text_(std::move(text_model)), session_(model_->start()) {
  if (text_.tokenizer->num_ids() > model_->facts().vocab_size) {
    fail(ErrorCode::InvalidCheckpoint, "tokenizer: ", text_.tokenizer->num_ids(),
         " ids, expected at most ", model_->facts().vocab_size, " (the model's vocabulary)");
  }
}

ChatReply TextSession::reply(const text::Conversation& conversation,
                             const text::RenderOptions& render,
                             const ReplyOptions& options,
                             const ReplyHooks& hooks) {
  if (text_.format == nullptr) {
    fail(ErrorCode::Unsupported, text_.no_format);
  }
  const text::Prompt rendered = text_.format->render(conversation, render);
  return run({.ids = text::encode(*text_.tokenizer, rendered),
              .start = text::opens_reasoning(rendered) ? text::ReplyStart::Reasoning
                                                       : text::ReplyStart::Content,
              .is_dsml = text_.format->reply_style() == text::ReplyStyle::Dsml,
              .tools = tools_of(conversation)},
             options, hooks);
}

ChatReply TextSession::complete(const std::string& text,
                                const ReplyOptions& options,
                                const ReplyHooks& hooks) {
  Prompt prompt;
  prompt.ids = text_.tokenizer->encode(text, text::ControlTokens::Plain);
  if (text_.raw_text_bos) {
    prompt.ids.insert(prompt.ids.begin(), *text_.raw_text_bos);
  }
  if (prompt.ids.empty()) {
    fail(ErrorCode::InvalidArgument,
         "prompt: expected some text, found none: this model has no token to begin a text with");
  }
  return run(prompt, options, hooks);
}

sampling::ConstraintVocabularyPtr TextSession::constraint_vocabulary() {
  if (vocabulary_ == nullptr) {
    const text::Tokenizer& tokenizer = *text_.tokenizer;
    std::vector<std::string> bytes(to_size(tokenizer.num_ids()));
    for (Index id = 0; id < tokenizer.num_ids(); ++id) {
      const auto token = static_cast<text::TokenId>(id);
      if (!tokenizer.is_control(token)) {
        bytes[to_size(id)] = tokenizer.bytes_of(token);
      }
    }
    vocabulary_ =
        std::make_shared<const sampling::ConstraintVocabulary>(std::move(bytes), text_.stop_ids);
  }
  return vocabulary_;
}

sampling::GenerationOptions TextSession::generation_options(const Prompt& prompt,
                                                            const ReplyOptions& options) const {
  const std::int64_t context = model_->facts().max_context;
  const auto num_prompt = to_index(prompt.ids.size());
  if (num_prompt >= context) {
    fail(ErrorCode::InvalidArgument, "prompt: ", num_prompt, " tokens, expected fewer than ",
         context, " (the context)");
  }
  const std::int64_t room = context - num_prompt;
  sampling::GenerationOptions result = {
      .sampling = options.sampling,
      .max_tokens = options.max_tokens == 0 ? room : std::min(options.max_tokens, room),
      .stop_ids = text_.stop_ids,
      .banned_ids = {},
      .constraint = options.constraint,
      .constraint_begins_after = {}};
  const auto dsml = text_.tokenizer->control_id(kDsml);
  if (prompt.is_dsml && prompt.tools.empty() && dsml) {
    result.banned_ids.push_back(*dsml);  // without tools there is nothing to call (ruling P8)
  }
  if (prompt.start == text::ReplyStart::Reasoning) {
    result.constraint_begins_after = text_.tokenizer->control_id(kEndOfThink);
  }
  return result;
}

std::optional<std::vector<float>> TextSession::compute(const std::vector<text::TokenId>& prompt,
                                                       const ReplyHooks& hooks,
                                                       ReplyStats& stats) {
  const auto start = Clock::now();
  // The last token is computed in any case: its logits are what the reply begins with.
  const text::ReusablePrefix known = text::reusable_prefix(
      *text_.tokenizer, session_.tokens(), std::span(prompt).first(prompt.size() - 1));
  const std::int64_t num_known = known.num_prompt;
  session_.truncate(known.num_cached);
  stats.prompt_tokens = to_index(prompt.size());
  stats.cached_tokens = num_known;
  const std::span<const text::TokenId> rest = std::span(prompt).subspan(to_size(num_known));
  const auto total = to_index(rest.size());
  std::vector<float> logits;
  for (std::int64_t first = 0; first < total; first += kPromptStep) {
    if (is_stopped(hooks)) {
      return std::nullopt;
    }
    const std::int64_t count = std::min(kPromptStep, total - first);
    logits = session_.append(rest.subspan(to_size(first), to_size(count)));
    if (hooks.on_prompt) {
      hooks.on_prompt(first + count, total);
    }
  }
  stats.prompt_seconds = seconds_since(start);
  return logits;
}

ChatReply TextSession::run(const Prompt& prompt,
                           const ReplyOptions& options,
                           const ReplyHooks& hooks) {
  sampling::Generation generation(generation_options(prompt, options), model_->facts().vocab_size,
                                  prompt.ids);
  text::ReplyParser parser(
      std::make_shared<const text::ReplySyntax>(reply_rules(prompt.is_dsml, prompt.tools, options)),
      prompt.start);
  ChatReply result;
  std::optional<std::vector<float>> logits = compute(prompt.ids, hooks, result.stats);
  const auto start = Clock::now();
  while (logits && !parser.is_done()) {
    const sampling::Picked& picked = generation.next(*logits);
    result.tokens.push_back(picked.id);
    if (hooks.on_token) {
      hooks.on_token(picked);
    }
    const std::string_view bytes = text_.tokenizer->bytes_of(picked.id);
    if (picked.is_stop) {
      break;
    }
    if (text_.tokenizer->is_control(picked.id)) {
      parser.push_control(bytes);
    } else {
      parser.push_text(bytes);
    }
    hand_out_events(parser, hooks);
    if (generation.finish_reason() || parser.is_done()) {
      break;
    }
    if (is_stopped(hooks)) {
      logits.reset();
    } else {
      logits = session_.append({&picked.id, 1});
    }
  }
  result.is_interrupted = !logits;
  const bool is_cut =
      generation.finish_reason() == sampling::FinishReason::Length && !parser.is_done();
  result.reply = parser.finish(is_cut || result.is_interrupted ? text::ReplyEnd::Length
                                                               : text::ReplyEnd::Stop);
  hand_out_events(parser, hooks);
  result.is_constraint_released = generation.is_constraint_released();
  result.stats.reply_tokens = generation.num_tokens();
  result.stats.reply_seconds = seconds_since(start);
  return result;
}

}  // namespace fathom
