#include "tests/support/replay_engine.h"

#include <algorithm>
#include <utility>

#include "fathom/serve/engine/reply_reader.h"

#include "tests/support/temp_dir.h"

namespace fathom::testing {

ReplayEngine::ReplayEngine(text::TextModel text, ReplayOptions options)
    : options_(std::move(options)),
      limits_{.vocab_size = options_.vocab_size,
              .max_context = options_.max_context,
              .fingerprint = "fp_replay"},
      text_(std::move(text), options_.vocab_size) {}

ReplayEngine::~ReplayEngine() {
  is_stopping_ = true;
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

engine::RequestId ReplayEngine::submit(engine::PreparedRequest request, engine::EventSink sink) {
  if (options_.refusal) {
    throw *options_.refusal;
  }
  const std::lock_guard lock(mutex_);
  const auto id = static_cast<engine::RequestId>(++num_submitted_);
  prompts_.push_back(text_of(request.prompt_ids));
  if (!options_.is_threaded) {
    play(id, request, sink);
    return id;
  }
  threads_.emplace_back([this, id, request = std::move(request), sink = std::move(sink)] {
    play(id, request, sink);
  });
  return id;
}

void ReplayEngine::cancel(engine::RequestId id) noexcept {
  const std::lock_guard lock(cancel_mutex_);
  cancelled_.insert(id);
}

std::vector<std::string> ReplayEngine::prompts() const {
  const std::lock_guard lock(mutex_);
  return prompts_;
}

std::size_t ReplayEngine::num_cancelled() const {
  const std::lock_guard lock(cancel_mutex_);
  return cancelled_.size();
}

std::string ReplayEngine::text_of(const std::vector<engine::TokenId>& ids) const {
  std::string text;
  for (const engine::TokenId id : ids) {
    text += text_.tokenizer().bytes_of(id);
  }
  return text;
}

bool ReplayEngine::tell(engine::RequestId id,
                        const engine::EventSink& sink,
                        engine::GenerateEvent event) {
  const std::lock_guard lock(cancel_mutex_);
  if (is_stopping_ || cancelled_.count(id) > 0) {
    return false;
  }
  sink(std::move(event));
  return true;
}

void ReplayEngine::play(engine::RequestId id,
                        const engine::PreparedRequest& request,
                        const engine::EventSink& sink) {
  engine::Usage usage = {
      .num_prompt = request.num_prompt_tokens(),
      .num_cached = std::min(options_.num_cached, request.num_prompt_tokens() - 1)};
  if (!tell(id, sink,
            engine::PromptProgress{.num_cached = usage.num_cached,
                                   .num_computed = usage.num_prompt - usage.num_cached,
                                   .num_total = usage.num_prompt})) {
    return;
  }
  if (request.request.num_prompt_logprobs) {
    std::vector<sampling::TokenLogprobs> scores;
    for (Index i = 1; i < usage.num_prompt; ++i) {
      const engine::TokenId token = request.prompt_ids[to_size(i)];
      scores.push_back({.logprob = -1.5,
                        .top = std::vector<sampling::TokenLogprob>(
                            to_size(std::min<Index>(*request.request.num_prompt_logprobs, 1)),
                            {.id = token, .logprob = -1.5})});
    }
    if (!tell(id, sink, engine::PromptScores{.first = 1, .tokens = std::move(scores)})) {
      return;
    }
  }
  const Index num_choices = request.generation.max_tokens > 0 ? request.request.num_choices : 0;
  for (Index choice = 0; choice < num_choices; ++choice) {
    if (!play_choice(id, request, sink, choice, usage)) {
      return;
    }
  }
  tell(id, sink, engine::RequestEnd{usage});
}

bool ReplayEngine::play_choice(engine::RequestId id,
                               const engine::PreparedRequest& request,
                               const engine::EventSink& sink,
                               Index choice_idx,
                               engine::Usage& usage) {
  std::vector<engine::TokenId> tokens = text_.tokenizer().encode(
      options_.reply(request, choice_idx), text::ControlTokens::Recognised);
  tokens.push_back(text_.model().stop_ids.front());
  engine::ReplyReader reader(request, text_, choice_idx);
  Index num_tokens = 0;
  for (const engine::TokenId token : tokens) {
    if (num_tokens == request.generation.max_tokens || reader.is_done()) {
      break;
    }
    std::this_thread::sleep_for(options_.token_delay);
    ++num_tokens;
    const auto& stops = request.generation.stop_ids;
    sampling::Picked picked = {
        .id = token,
        .logprobs = {.logprob = -0.25, .top = {}},
        .is_stop = std::find(stops.begin(), stops.end(), token) != stops.end()};
    if (request.generation.sampling.num_top_logprobs.value_or(0) > 0) {
      picked.logprobs.top = {{.id = token, .logprob = -0.25}};
    }
    if (!tell(id, sink, reader.push(picked))) {
      return false;
    }
    if (options_.failure) {
      tell(id, sink, engine::RequestFailure{options_.failure->code(), options_.failure->what()});
      return false;
    }
  }
  auto [delta, end] = reader.finish(!reader.is_done(), false);
  usage.num_reply += end.num_tokens;
  usage.num_reasoning += end.num_reasoning;
  return (delta.events.empty() || tell(id, sink, std::move(delta))) &&
         tell(id, sink, std::move(end));
}

const text::TextModel& v4_text_model() {
  static const text::TextModel kModel = [] {
    const std::string path = FATHOM_SOURCE_DIR "/tests/data/golden/tokenizer/tokenizer.json";
    return text::make_text_model(text::Tokenizer::parse_json(test::read_file(path), path),
                                 text::make_v4_format(text::dialect_from_name("preview")));
  }();
  return kModel;
}

}  // namespace fathom::testing
