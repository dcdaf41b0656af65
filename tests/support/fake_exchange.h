// An exchange without a socket: keeps what a handler sends, for tests to look at.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fathom/serve/http/exchange.h"

namespace fathom::test {

class FakeExchange : public http::Exchange {
 public:
  explicit FakeExchange(http::Request request) : request_(std::move(request)) {}

  const http::Request& request() const override { return request_; }

  void respond(http::Response response) override {
    const std::lock_guard lock(mutex_);
    if (response_ || is_streaming_) {
      misuse_ = "respond() after an answer had begun";
      return;
    }
    response_ = std::move(response);
    changed_.notify_all();
  }

  void begin_events(std::vector<http::Header> headers,
                    std::function<std::string()> keep_alive) override {
    const std::lock_guard lock(mutex_);
    if (response_ || is_streaming_) {
      misuse_ = "begin_events() after an answer had begun";
      return;
    }
    is_streaming_ = true;
    event_headers_ = std::move(headers);
    keep_alive_ = std::move(keep_alive);
    changed_.notify_all();
  }

  void send(std::string chunk) override {
    const std::lock_guard lock(mutex_);
    if (!is_streaming_ || has_ended_) {
      misuse_ = "send() outside of a stream";
      return;
    }
    chunks_.push_back(std::move(chunk));
    changed_.notify_all();
  }

  void end_events() override {
    const std::lock_guard lock(mutex_);
    if (!is_streaming_ || has_ended_) {
      misuse_ = "end_events() outside of a stream";
      return;
    }
    has_ended_ = true;
    changed_.notify_all();
  }

  void on_disconnect(std::function<void()> callback) override {
    {
      const std::lock_guard lock(mutex_);
      if (!is_gone_) {
        on_disconnect_ = std::move(callback);
        return;
      }
    }
    callback();
  }

  // The client goes away.
  void disconnect() {
    std::function<void()> callback;
    {
      const std::lock_guard lock(mutex_);
      is_gone_ = true;
      callback = std::exchange(on_disconnect_, nullptr);
    }
    if (callback) {
      callback();
    }
  }

  // Whether the answer is complete, waiting for it up to `patience`.
  bool wait(std::chrono::seconds patience = std::chrono::seconds(60)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [this] { return is_complete_locked(); });
  }
  bool is_complete() const {
    const std::lock_guard lock(mutex_);
    return is_complete_locked();
  }

  // The answer that is no stream.
  std::optional<http::Response> response() const {
    const std::lock_guard lock(mutex_);
    return response_;
  }
  bool is_streaming() const {
    const std::lock_guard lock(mutex_);
    return is_streaming_;
  }
  std::vector<http::Header> event_headers() const {
    const std::lock_guard lock(mutex_);
    return event_headers_;
  }
  // Each send() on its own.
  std::vector<std::string> chunks() const {
    const std::lock_guard lock(mutex_);
    return chunks_;
  }
  // All that was sent.
  std::string events() const {
    const std::lock_guard lock(mutex_);
    std::string all;
    for (const std::string& chunk : chunks_) {
      all += chunk;
    }
    return all;
  }
  // What the server would send after a silence; empty without a stream.
  std::string keep_alive() const {
    std::function<std::string()> make;
    {
      const std::lock_guard lock(mutex_);
      make = keep_alive_;
    }
    return make ? make() : std::string();
  }
  // How the handler broke the contract of Exchange; empty: it did not.
  std::string misuse() const {
    const std::lock_guard lock(mutex_);
    return misuse_;
  }

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
inline std::vector<ServerEvent> read_events(std::string_view stream) {
  std::vector<ServerEvent> events;
  ServerEvent event;
  bool has_data = false;
  while (!stream.empty()) {
    const std::size_t end = stream.find('\n');
    const std::string_view line = stream.substr(0, end);
    stream = end == std::string_view::npos ? std::string_view{} : stream.substr(end + 1);
    if (line.empty()) {
      if (has_data) {
        events.push_back(std::exchange(event, {}));
        has_data = false;
      }
      event = {};
    } else if (line.starts_with("event: ")) {
      event.name = line.substr(7);
    } else if (line.starts_with("data: ")) {
      event.data += (has_data ? "\n" : "") + std::string(line.substr(6));
      has_data = true;
    }
  }
  return events;
}

}  // namespace fathom::test
