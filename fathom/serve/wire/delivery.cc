#include "fathom/serve/wire/delivery.h"

#include <exception>
#include <mutex>
#include <new>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/serve/wire/errors.h"

namespace fathom::wire {
namespace {

// Keeps events in order: they may come from the engine's thread while the request's own thread
// still begins the answer. Those wait in a list, so that the engine never waits.
class Delivery {
 public:
  explicit Delivery(std::shared_ptr<ReplyWriter> writer) : writer_(std::move(writer)) {}

  void add_request(engine::RequestId id) {
    const std::lock_guard lock(mutex_);
    ids_.push_back(id);
  }

  void begin() {
    writer_->begin();
    std::unique_lock lock(mutex_);
    // What comes while these are written is appended.
    for (std::size_t i = 0; i < early_.size(); ++i) {
      auto [request_idx, event] = std::move(early_[i]);
      lock.unlock();
      writer_->on_event(request_idx, std::move(event));
      lock.lock();
    }
    early_.clear();
    has_begun_ = true;
  }

  void on_event(Index request_idx, engine::GenerateEvent&& event) {
    {
      const std::lock_guard lock(mutex_);
      if (!has_begun_) {
        early_.emplace_back(request_idx, std::move(event));
        return;
      }
    }
    writer_->on_event(request_idx, std::move(event));
  }

  void cancel(engine::Engine& engine) {
    std::vector<engine::RequestId> ids;
    {
      const std::lock_guard lock(mutex_);
      ids = ids_;
    }
    for (const engine::RequestId id : ids) {
      engine.cancel(id);
    }
  }

 private:
  const std::shared_ptr<ReplyWriter> writer_;
  std::mutex mutex_;
  std::vector<engine::RequestId> ids_;
  std::vector<std::pair<Index, engine::GenerateEvent>> early_;
  bool has_begun_ = false;
};

}  // namespace

void deliver(const http::ExchangePtr& exchange,
             const std::shared_ptr<engine::Engine>& engine,
             std::vector<engine::PreparedRequest> requests,
             std::shared_ptr<ReplyWriter> writer) {
  const auto delivery = std::make_shared<Delivery>(std::move(writer));
  Index request_idx = 0;
  try {
    for (engine::PreparedRequest& request : requests) {
      delivery->add_request(engine->submit(std::move(request),
                                           [delivery, request_idx](engine::GenerateEvent&& event) {
                                             delivery->on_event(request_idx, std::move(event));
                                           }));
      ++request_idx;
    }
  } catch (...) {
    delivery->cancel(*engine);
    throw;
  }
  delivery->begin();
  // The engine keeps the delivery, through its sinks, as long as there is something to cancel; the
  // exchange must not, since the writer keeps the exchange. Nor may it keep the engine: whoever
  // drops the exchange last would end the engine, which may be the engine's own thread.
  exchange->on_disconnect([engine = std::weak_ptr(engine), weak = std::weak_ptr(delivery)] {
    const std::shared_ptr<engine::Engine> running = engine.lock();
    const std::shared_ptr<Delivery> alive = weak.lock();
    if (running && alive) {
      alive->cancel(*running);
    }
  });
}

http::Handler answering_errors(http::Handler handler, ErrorShape shape) {
  return [handler = std::move(handler), shape](const http::ExchangePtr& exchange) {
    const auto answer = [&](const Error& error) {
      exchange->respond(shape == ErrorShape::OpenAi
                            ? openai_error(error)
                            : anthropic_error(error, exchange->request().request_id));
    };
    try {
      handler(exchange);
    } catch (const Error& error) {
      answer(error);
    } catch (const std::bad_alloc&) {
      answer(Error(ErrorCode::OutOfMemory, "the request needs more memory than there is"));
    } catch (const std::exception& error) {
      answer(Error(ErrorCode::Internal, error.what()));
    }
  };
}

}  // namespace fathom::wire
