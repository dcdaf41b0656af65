#include "fathom/serve/engine/reply_reader.h"

#include <algorithm>

#include "fathom/base/core/error.h"

namespace fathom::engine {

ReplyReader::ReplyReader(const PreparedRequest& request, const TextServices& text, Index choice_idx)
    : text_(&text.model()),
      parser_(request.syntax, request.reply_start, request.forced_tool),
      ignores_end_(request.request.ignores_end),
      allows_parallel_calls_(request.request.allows_parallel_calls) {
  end_.choice_idx = choice_idx;
}

void ReplyReader::push_bytes(const sampling::Picked& picked) {
  const std::string_view bytes = text_->tokenizer->bytes_of(picked.id);
  if (!text_->tokenizer->is_control(picked.id)) {
    parser_.push_text(bytes);
  } else if (!ignores_end_ || is_reply_markup(bytes)) {
    parser_.push_control(bytes);
  }
}

ReplyDelta ReplyReader::push(const sampling::Picked& picked) {
  FATHOM_CHECK(!is_done_);
  SampledToken token = {.id = picked.id,
                        .bytes = {},
                        .logprobs = picked.logprobs,
                        .is_reasoning = parser_.is_reasoning()};
  end_.tokens.push_back(picked.id);
  ++end_.num_tokens;
  end_.num_reasoning += token.is_reasoning ? 1 : 0;
  ReplyDelta delta = {.choice_idx = end_.choice_idx, .token = {}, .events = {}};
  if (picked.is_stop) {
    is_done_ = true;
  } else {
    token.bytes = text_->tokenizer->bytes_of(picked.id);
    push_bytes(picked);
    delta.events = parser_.take_events();
    const bool ends_call =
        std::any_of(delta.events.begin(), delta.events.end(), [](const text::ReplyEvent& event) {
          return event.kind == text::ReplyEvent::Kind::CallEnd;
        });
    is_done_ = parser_.is_done() || (ends_call && !allows_parallel_calls_);
  }
  delta.token = std::move(token);
  return delta;
}

std::pair<ReplyDelta, ChoiceEnd> ReplyReader::finish(bool is_cut, bool is_constraint_released) {
  end_.reply = parser_.finish(is_cut ? text::ReplyEnd::Length : text::ReplyEnd::Stop);
  end_.is_constraint_released = is_constraint_released;
  is_done_ = true;
  return {ReplyDelta{.choice_idx = end_.choice_idx, .token = {}, .events = parser_.take_events()},
          std::move(end_)};
}

}  // namespace fathom::engine
