// A model that serves many requests at once, as wire formats see it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fathom/model/text/text_model.h"
#include "fathom/serve/engine/event.h"
#include "fathom/serve/engine/prepared_request.h"
#include "fathom/serve/engine/stats.h"

namespace fathom::engine {

enum class RequestId : std::uint64_t {};

struct ModelLimits {
  Index vocab_size = 0;
  Index max_context = 0;  // tokens of prompt and reply together
  // A description of model and build that changes when results may: `system_fingerprint`.
  std::string fingerprint = {};
};

class Engine {
 public:
  virtual ~Engine() = default;

  virtual const ModelLimits& limits() const = 0;
  // What prepare() needs. Lives as long as the engine.
  virtual const TextServices& text() const = 0;

  // Queues a request; everything that happens to it goes to the sink, which is called for the last
  // time with RequestEnd or RequestFailure. Throws Overloaded when the queue is full, Unavailable
  // when the engine is going down.
  virtual RequestId submit(PreparedRequest request, EventSink sink) = 0;

  // The client went away: the request leaves the engine within one step and its sink is not called
  // again once this returns. Unknown and finished requests are left alone.
  virtual void cancel(RequestId id) noexcept = 0;

  virtual EngineStats stats() const = 0;
};

}  // namespace fathom::engine
