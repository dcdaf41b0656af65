// What the engine knows of a request that it serves, and of each reply to it.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "fathom/model/layers/causal_lm.h"
#include "fathom/serve/engine/engine.h"
#include "fathom/serve/engine/prefix_library.h"
#include "fathom/serve/engine/reply_reader.h"
#include "fathom/serve/engine/scheduler.h"

namespace fathom::engine {

// The way to a client, which may be closed from any thread.
class EventGate {
 public:
  explicit EventGate(EventSink sink) : sink_(std::move(sink)) {}

  // False once the gate is closed, or when the sink threw: it then closes.
  bool tell(GenerateEvent event) noexcept;
  // The sink is not called again once this returns, and is not running, unless by the caller.
  void close() noexcept;

 private:
  std::recursive_mutex mutex_;  // a sink may close its own gate
  EventSink sink_;
  bool is_closed_ = false;
};

struct ActiveRequest;

// One reply, from its prompt on. Its random numbers, history and text are its own; what it shares
// with others are pages.
struct Sequence {
  SequenceId id{};
  ActiveRequest* request = nullptr;
  Index choice_idx = 0;
  std::vector<TokenId> tokens;           // prompt and reply, and at its end guesses
  Index num_guesses = 0;                 // of the last tokens
  std::optional<SequenceCaches> caches;  // while it runs
  // Absent when only the prompt is wanted.
  std::optional<sampling::Generation> generation;
  std::optional<ReplyReader> reader;
  std::optional<TimePoint> last_token_time;

  Index num_cached() const { return caches ? caches->num_tokens() : 0; }
  Index num_tokens() const { return to_index(tokens.size()); }
  void drop_guesses() {
    tokens.resize(tokens.size() - to_size(num_guesses));
    num_guesses = 0;
  }
  // The prompt's log-probabilities are told by the first choice.
  bool wants_scores() const;
  bool wants_progress() const;
};

struct ActiveRequest {
  RequestId id{};
  PreparedRequest prepared;
  std::shared_ptr<EventGate> gate;
  TimePoint submit_time;
  std::optional<TimePoint> deadline;
  std::vector<std::unique_ptr<Sequence>> sequences;  // that are not done
  Usage usage;
  Index num_scored = 0;       // prompt tokens whose log-probabilities were told, from the second on
  Index num_on_disk = 0;      // prompt tokens that a snapshot held
  Index loading_bytes = 0;    // memory that a snapshot on its way takes
  bool was_admitted = false;  // a sequence of it has run
  bool has_first_token = false;
  bool is_gone = false;  // its client cannot be told any more
  bool is_over = false;  // its last event was told, or none will be

  // What computes it; none: the engine's model.
  const layers::CausalLm* lm = nullptr;
  // Only sequences of one key can go on from each other's caches: adapters never mix.
  std::string cache_key;

  const std::string& scope() const { return prepared.request.cache_scope; }
  std::span<const TokenId> prompt() const { return prepared.prompt_ids; }
};

// A request with a sequence for each choice, without ids. Throws what Generation throws.
std::unique_ptr<ActiveRequest> make_active(PreparedRequest prepared,
                                           EventSink sink,
                                           const TextServices& text,
                                           Index vocab_size);

}  // namespace fathom::engine
