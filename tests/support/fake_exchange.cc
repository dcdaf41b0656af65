#include "tests/support/fake_exchange.h"

#include <chrono>
#include <cstddef>
#include <utility>

namespace fathom::test {
namespace {

#ifdef FATHOM_SANITISED
constexpr std::chrono::minutes kPatience(10);
#else
constexpr std::chrono::minutes kPatience(1);
#endif

}  // namespace

FakeExchange::FakeExchange(http::Request request) : request_(std::move(request)) {}

void FakeExchange::respond(http::Response response) {
  const std::lock_guard lock(mutex_);
  if (response_ || is_streaming_) {
    misuse_ = "respond() after an answer had begun";
    return;
  }
  response_ = std::move(response);
  changed_.notify_all();
}

void FakeExchange::begin_events(std::vector<http::Header> headers,
                                std::function<std::string()> keep_alive) {
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

void FakeExchange::send(std::string chunk) {
  const std::lock_guard lock(mutex_);
  if (!is_streaming_ || has_ended_) {
    misuse_ = "send() outside of a stream";
    return;
  }
  chunks_.push_back(std::move(chunk));
  changed_.notify_all();
}

void FakeExchange::end_events() {
  const std::lock_guard lock(mutex_);
  if (!is_streaming_ || has_ended_) {
    misuse_ = "end_events() outside of a stream";
    return;
  }
  has_ended_ = true;
  changed_.notify_all();
}

void FakeExchange::on_disconnect(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (!is_gone_) {
      on_disconnect_ = std::move(callback);
      return;
    }
  }
  callback();
}

void FakeExchange::disconnect() {
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

bool FakeExchange::wait() {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [this] { return is_complete_locked(); });
}

bool FakeExchange::is_complete() const {
  const std::lock_guard lock(mutex_);
  return is_complete_locked();
}

std::optional<http::Response> FakeExchange::response() const {
  const std::lock_guard lock(mutex_);
  return response_;
}

bool FakeExchange::is_streaming() const {
  const std::lock_guard lock(mutex_);
  return is_streaming_;
}

std::vector<http::Header> FakeExchange::event_headers() const {
  const std::lock_guard lock(mutex_);
  return event_headers_;
}

std::vector<std::string> FakeExchange::chunks() const {
  const std::lock_guard lock(mutex_);
  return chunks_;
}

std::string FakeExchange::events() const {
  const std::lock_guard lock(mutex_);
  std::string all;
  for (const std::string& chunk : chunks_) {
    all += chunk;
  }
  return all;
}

std::string FakeExchange::keep_alive() const {
  std::function<std::string()> make;
  {
    const std::lock_guard lock(mutex_);
    make = keep_alive_;
  }
  return make ? make() : std::string();
}

std::string FakeExchange::misuse() const {
  const std::lock_guard lock(mutex_);
  return misuse_;
}

std::vector<ServerEvent> read_events(std::string_view stream) {
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
