// The meeting point of a handler, on any thread, and the connection that sends its answer.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/serve/http/exchange.h"

namespace fathom::http {

class Answer {
 public:
  // `wake` tells the connection, from any thread, that there is something to take. Bytes of events
  // that wait to be sent are bounded by `max_pending_bytes`.
  Answer(Index max_pending_bytes, std::function<void()> wake);

  // The handler's side: see Exchange.
  void respond(Response response);
  void begin_events(std::vector<Header> headers, std::function<std::string()> keep_alive);
  void send(std::string chunk);
  void end_events();
  void on_disconnect(std::function<void()> callback);
  // Nobody holds the exchange any more.
  void drop();
  // From here on it is an answer, unless a stream was begun.
  void handler_returned();

  // The connection's side.
  struct Taken {
    std::optional<Response> response;
    std::optional<std::vector<Header>> event_headers;
    std::string bytes;         // of events
    bool is_complete = false;  // nothing comes after this
    bool is_broken = false;    // nothing comes, though the stream was not ended
  };
  // What came since the last call. What was taken by that counts as sent.
  Taken take();
  // Whether it is to be an answer that is still in the making.
  bool may_be_padded() const;
  // More waited than may; it was thrown away.
  bool is_too_slow() const;
  // Adds what the stream's keep_alive makes.
  void keep_alive();
  // The client is gone: what waits is thrown away and the handler is told.
  void disconnect();
  // Tells the handler that nobody listens, but keeps what it answers.
  void client_stopped_listening();

 private:
  enum class State { Open, Streaming, Complete };

  void complete_and_wake(std::unique_lock<std::mutex> lock);
  void wake(std::unique_lock<std::mutex> lock);
  void fire_disconnect(std::unique_lock<std::mutex> lock);

  const Index max_pending_bytes_;
  const std::function<void()> wake_;
  mutable std::mutex mutex_;
  State state_ = State::Open;
  Taken pending_;
  Index taken_bytes_ = 0;
  bool is_wake_pending_ = false;
  bool has_handler_returned_ = false;
  bool is_client_gone_ = false;
  bool is_too_slow_ = false;
  bool is_discarding_ = false;
  std::function<std::string()> keep_alive_;
  std::function<void()> on_disconnect_;
};

// The exchange that handlers get.
ExchangePtr make_exchange(std::shared_ptr<const Request> request, std::shared_ptr<Answer> answer);

}  // namespace fathom::http
