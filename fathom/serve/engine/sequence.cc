#include "fathom/serve/engine/sequence.h"

namespace fathom::engine {

bool EventGate::tell(GenerateEvent event) noexcept {
  const std::lock_guard lock(mutex_);
  if (is_closed_) {
    return false;
  }
  try {
    sink_(std::move(event));
  } catch (...) {
    // A client that cannot be told is a client that went away; the others are not to notice.
    is_closed_ = true;
  }
  return !is_closed_;
}

void EventGate::close() noexcept {
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
}

bool Sequence::wants_scores() const {
  return choice_idx == 0 && request->prepared.request.num_prompt_logprobs.has_value();
}

bool Sequence::wants_progress() const {
  return choice_idx == 0 && request->prepared.request.wants_progress;
}

std::unique_ptr<ActiveRequest> make_active(PreparedRequest prepared,
                                           EventSink sink,
                                           const TextServices& text,
                                           Index vocab_size) {
  auto active = std::make_unique<ActiveRequest>();
  active->prepared = std::move(prepared);
  active->cache_key = active->prepared.request.cache_scope;
  active->gate = std::make_shared<EventGate>(std::move(sink));
  active->submit_time = platform::Clock::now();
  const PreparedRequest& request = active->prepared;
  if (request.request.deadline) {
    active->deadline = active->submit_time + *request.request.deadline;
  }
  active->usage.num_prompt = request.num_prompt_tokens();
  const bool is_scored_only = request.generation.max_tokens == 0;
  const Index num_sequences = is_scored_only ? 1 : request.request.num_choices;
  for (Index choice_idx = 0; choice_idx < num_sequences; ++choice_idx) {
    auto sequence = std::make_unique<Sequence>();
    sequence->request = active.get();
    sequence->choice_idx = choice_idx;
    sequence->tokens = request.prompt_ids;
    if (!is_scored_only) {
      sampling::GenerationOptions options = request.generation;
      options.choice_idx = choice_idx;
      sequence->generation.emplace(std::move(options), vocab_size, request.prompt_ids);
      sequence->reader.emplace(request, text, choice_idx);
    }
    active->sequences.push_back(std::move(sequence));
  }
  return active;
}

}  // namespace fathom::engine
