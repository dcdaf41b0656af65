// From a checked request to its answer: submits it, begins the answer before the engine computes
// anything, and takes the request back when the client goes away.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "fathom/serve/engine/engine.h"
#include "fathom/serve/http/exchange.h"

namespace fathom::wire {

// Makes an answer out of what happens to the requests behind it; most answers have one.
class ReplyWriter {
 public:
  ReplyWriter() = default;
  ReplyWriter(const ReplyWriter&) = delete;
  ReplyWriter& operator=(const ReplyWriter&) = delete;
  virtual ~ReplyWriter() = default;

  // All requests are in the queue: a stream sends its headers and first events. Calls come one
  // after another, this one first. None may throw.
  virtual void begin() = 0;
  // Must not call the engine.
  virtual void on_event(Index request_idx, engine::GenerateEvent&& event) = 0;
};

// Throws what Engine::submit throws, with nothing answered and none of the requests in the engine.
void deliver(const http::ExchangePtr& exchange,
             const std::shared_ptr<engine::Engine>& engine,
             std::vector<engine::PreparedRequest> requests,
             std::shared_ptr<ReplyWriter> writer);

// Which vendor's shape errors have.
enum class ErrorShape { OpenAi, Anthropic };

// A handler that answers what `handler` throws.
http::Handler answering_errors(http::Handler handler, ErrorShape shape);

}  // namespace fathom::wire
