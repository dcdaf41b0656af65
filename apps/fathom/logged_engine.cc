#include "apps/fathom/logged_engine.h"

#include <utility>
#include <variant>

namespace fathom::app {

std::string LoggedEngine::text_of(const std::vector<engine::TokenId>& ids) const {
  return text::decode(text().tokenizer(), ids);
}

engine::RequestId LoggedEngine::submit(engine::PreparedRequest request, engine::EventSink sink) {
  if (!log_->logs_prompts()) {
    return engine_->submit(std::move(request), std::move(sink));
  }
  const std::uint64_t number = ++num_submitted_;
  log_->text("prompt", number, text_of(request.prompt_ids));
  return engine_->submit(std::move(request),
                         [this, number, sink = std::move(sink)](engine::GenerateEvent&& event) {
                           if (const auto* end = std::get_if<engine::ChoiceEnd>(&event)) {
                             log_->text("reply", number, text_of(end->tokens));
                           }
                           sink(std::move(event));
                         });
}

}  // namespace fathom::app
