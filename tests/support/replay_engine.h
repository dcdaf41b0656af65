// An engine that answers from a script instead of a model, for tests of wire formats and servers.
//
// Everything but the model is real: prompts are rendered and tokenised, replies are tokens of the
// real tokenizer that the real parser reads.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/serve/engine/engine.h"

namespace fathom::testing {

struct ReplayOptions {
  // The text of a choice's reply to a prompt; control tokens that it spells are control tokens, and
  // it ends with the end token unless the limit ends it before.
  std::function<std::string(const engine::PreparedRequest& request, Index choice_idx)> reply;
  Index vocab_size = 129280;
  Index max_context = 1 << 20;
  Index num_cached = 0;  // of every prompt, at most all but one
  // False: events come before submit() returns. True: from a thread of their own.
  bool is_threaded = false;
  std::chrono::milliseconds token_delay{0};
  // Thrown by submit(); and what requests fail with after their first token.
  std::optional<Error> refusal = {};
  std::optional<Error> failure = {};
};

class ReplayEngine final : public engine::Engine {
 public:
  ReplayEngine(text::TextModel text, ReplayOptions options);
  ~ReplayEngine() override;

  const engine::ModelLimits& limits() const override { return limits_; }
  const engine::TextServices& text() const override { return text_; }
  engine::RequestId submit(engine::PreparedRequest request, engine::EventSink sink) override;
  void cancel(engine::RequestId id) noexcept override;
  engine::EngineStats stats() const override { return {}; }

  // The prompts so far, control tokens spelled.
  std::vector<std::string> prompts() const;
  std::size_t num_cancelled() const;

 private:
  std::string text_of(const std::vector<engine::TokenId>& ids) const;
  // False once the request was cancelled. An event is delivered under the lock, so that none comes
  // after cancel() has returned.
  bool tell(engine::RequestId id, const engine::EventSink& sink, engine::GenerateEvent event);
  void play(engine::RequestId id,
            const engine::PreparedRequest& request,
            const engine::EventSink& sink);
  bool play_choice(engine::RequestId id,
                   const engine::PreparedRequest& request,
                   const engine::EventSink& sink,
                   Index choice,
                   engine::Usage& usage);

  ReplayOptions options_;
  engine::ModelLimits limits_;
  engine::TextServices text_;
  mutable std::mutex mutex_;
  mutable std::mutex cancel_mutex_;
  std::atomic<bool> is_stopping_ = false;
  std::uint64_t num_submitted_ = 0;
  std::set<engine::RequestId> cancelled_;
  std::vector<std::string> prompts_;
  std::vector<std::thread> threads_;
};

// DeepSeek-V4's tokenizer and prompts, from the golden data; read once.
const text::TextModel& v4_text_model();

}  // namespace fathom::testing
