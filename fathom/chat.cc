#include "fathom/chat.h"

#include <algorithm>
#include <span>
#include <utility>

#include "fathom/base/platform/clock.h"
#include "fathom/model/text/prompt_reuse.h"
#include "fathom/serve/engine/engine.h"
#include "fathom/serve/engine/reply_reader.h"

namespace fathom {
namespace {

using platform::Clock;
using platform::seconds_since;

// Prompt tokens between two looks at is_stopped. Does not change a bit of the results.
constexpr std::int64_t kPromptStep = 256;

bool is_stopped(const ReplyHooks& hooks) {
  return hooks.is_stopped && hooks.is_stopped();
}

void hand_out(const std::vector<text::ReplyEvent>& events, const ReplyHooks& hooks) {
  for (const text::ReplyEvent& event : events) {
    if (hooks.on_event) {
      hooks.on_event(event);
    }
  }
}

}  // namespace

TextSession::TextSession(std::shared_ptr<Model> model, TextModel text_model)
    : model_(std::move(model)),
      text_(std::move(text_model), model_->facts().vocab_size),
      session_(model_->start()) {}

ChatReply TextSession::reply(const text::Conversation& conversation,
                             const text::RenderOptions& render,
                             const ReplyOptions& options,
                             const ReplyHooks& hooks) {
  return run(engine::ChatPrompt{.conversation = conversation, .render = render}, options, hooks);
}

ChatReply TextSession::complete(const std::string& text,
                                const ReplyOptions& options,
                                const ReplyHooks& hooks) {
  return run(engine::TextPrompt{.text = text}, options, hooks);
}

engine::PreparedRequest TextSession::prepare(engine::Prompt prompt,
                                             const ReplyOptions& options) const {
  engine::GenerateRequest request;
  request.prompt = std::move(prompt);
  request.sampling = options.sampling;
  request.has_seed = true;
  if (options.max_tokens > 0) {
    request.max_tokens = options.max_tokens;
  }
  request.stop_strings = options.stop;
  request.content = options.content;
  return engine::prepare(
      std::move(request), text_,
      {.vocab_size = model_->facts().vocab_size, .max_context = model_->facts().max_context});
}

std::optional<std::vector<float>> TextSession::compute(const std::vector<text::TokenId>& prompt,
                                                       const ReplyHooks& hooks,
                                                       ReplyStats& stats) {
  const auto start = Clock::now();
  // The last token is computed in any case: its logits are what the reply begins with.
  const text::ReusablePrefix known = text::reusable_prefix(
      text_.tokenizer(), session_.tokens(), std::span(prompt).first(prompt.size() - 1));
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

ChatReply TextSession::run(engine::Prompt prompt,
                           const ReplyOptions& options,
                           const ReplyHooks& hooks) {
  const engine::PreparedRequest request = prepare(std::move(prompt), options);
  sampling::Generation generation(request.generation, model_->facts().vocab_size,
                                  request.prompt_ids);
  engine::ReplyReader reader(request, text_, 0);
  ChatReply result;
  std::optional<std::vector<float>> logits = compute(request.prompt_ids, hooks, result.stats);
  const auto start = Clock::now();
  while (logits) {
    const sampling::Picked& picked = generation.next(*logits);
    if (hooks.on_token) {
      hooks.on_token(picked);
    }
    hand_out(reader.push(picked).events, hooks);
    if (generation.finish_reason() || reader.is_done()) {
      break;
    }
    if (is_stopped(hooks)) {
      logits.reset();
    } else {
      logits = session_.append({&picked.id, 1});
    }
  }
  result.is_interrupted = !logits;
  auto [rest, end] = reader.finish(!reader.is_done(), generation.is_constraint_released());
  hand_out(rest.events, hooks);
  result.reply = std::move(end.reply);
  result.tokens = std::move(end.tokens);
  result.is_constraint_released = end.is_constraint_released;
  result.stats.reply_tokens = end.num_tokens;
  result.stats.reply_seconds = seconds_since(start);
  return result;
}

}  // namespace fathom
