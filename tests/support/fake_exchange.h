// An exchange without a socket: keeps what a handler sends, for tests to look at.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/serve/http/exchange.h"

namespace fathom::test {

class FakeExchange : public http::Exchange {
 public:
  explicit FakeExchange(http::Request request);

  const http::Request& request() const override { return request_; }
  void respond(http::Response response) override;
  void begin_events(std::vector<http::Header> headers,
                    std::function<std::string()> keep_alive) override;
  void send(std::string chunk) override;
  void end_events() override;
  void on_disconnect(std::function<void()> callback) override;

  // The client goes away.
  void disconnect();

  // Whether the answer is complete, waiting up to a minute for it, ten under sanitisers.
  bool wait();
  bool is_complete() const;

  // The answer that is no stream.
  std::optional<http::Response> response() const;
  bool is_streaming() const;
  std::vector<http::Header> event_headers() const;
  // Each send() on its own.
  std::vector<std::string> chunks() const;
  // All that was sent.
  std::string events() const;
  // What the server would send after a silence; empty without a stream.
  std::string keep_alive() const;
  // How the handler broke the contract of Exchange; empty: it did not.
  std::string misuse() const;

 private:
  bool is_complete_locked() const { return response_.has_value() || has_ended_; }

  const http::Request request_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<http::Response> response_;
  bool is_streaming_ = false;
  bool has_ended_ = false;
  bool is_gone_ = false;
  std::vector<http::Header> event_headers_;
  std::vector<std::string> chunks_;
  std::function<std::string()> keep_alive_;
  std::function<void()> on_disconnect_;
  std::string misuse_;
};

// One server-sent event as a client reads it.
struct ServerEvent {
  std::string name = {};  // of its `event:` line
  std::string data = {};
};

// The events of a stream; comments are skipped.
std::vector<ServerEvent> read_events(std::string_view stream);

}  // namespace fathom::test
