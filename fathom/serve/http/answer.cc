#include "fathom/serve/http/answer.h"

#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::http {
namespace {

class AnsweredExchange final : public Exchange {
 public:
  AnsweredExchange(std::shared_ptr<const Request> request, std::shared_ptr<Answer> answer)
      : request_(std::move(request)), answer_(std::move(answer)) {}
  ~AnsweredExchange() override { answer_->drop(); }
  AnsweredExchange(const AnsweredExchange&) = delete;
  AnsweredExchange& operator=(const AnsweredExchange&) = delete;

  const Request& request() const override { return *request_; }
  void respond(Response response) override { answer_->respond(std::move(response)); }
  void begin_events(std::vector<Header> headers, std::function<std::string()> keep_alive) override {
    answer_->begin_events(std::move(headers), std::move(keep_alive));
  }
  void send(std::string chunk) override { answer_->send(std::move(chunk)); }
  void end_events() override { answer_->end_events(); }
  void on_disconnect(std::function<void()> callback) override {
    answer_->on_disconnect(std::move(callback));
  }

 private:
  std::shared_ptr<const Request> request_;
  std::shared_ptr<Answer> answer_;
};

}  // namespace

Answer::Answer(Index max_pending_bytes, std::function<void()> wake)
    : max_pending_bytes_(max_pending_bytes), wake_(std::move(wake)) {}

void Answer::respond(Response response) {
  std::unique_lock lock(mutex_);
  FATHOM_CHECK(state_ == State::Open);
  pending_.response = std::move(response);
  complete_and_wake(std::move(lock));
}

void Answer::begin_events(std::vector<Header> headers, std::function<std::string()> keep_alive) {
  std::unique_lock lock(mutex_);
  FATHOM_CHECK(state_ == State::Open);
  state_ = State::Streaming;
  pending_.event_headers = std::move(headers);
  keep_alive_ = std::move(keep_alive);
  wake(std::move(lock));
}

void Answer::send(std::string chunk) {
  std::unique_lock lock(mutex_);
  FATHOM_CHECK(state_ == State::Streaming);
  if (is_discarding_) {
    return;
  }
  if (pending_.bytes.empty()) {
    pending_.bytes = std::move(chunk);
  } else {
    pending_.bytes.append(chunk);
  }
  if (taken_bytes_ + to_index(pending_.bytes.size()) > max_pending_bytes_) {
    // The connection closes and tells the handler: not from here, where it may hold locks.
    is_discarding_ = true;
    is_too_slow_ = true;
    is_wake_pending_ = false;  // it was woken, and waits for a write that may never end
    pending_.bytes = {};
  }
  wake(std::move(lock));
}

void Answer::end_events() {
  std::unique_lock lock(mutex_);
  FATHOM_CHECK(state_ == State::Streaming);
  complete_and_wake(std::move(lock));
}

void Answer::on_disconnect(std::function<void()> callback) {
  {
    const std::scoped_lock lock(mutex_);
    if (state_ == State::Complete) {
      return;
    }
    if (!is_client_gone_) {
      on_disconnect_ = std::move(callback);
      return;
    }
  }
  callback();
}

void Answer::drop() {
  std::unique_lock lock(mutex_);
  if (state_ == State::Open) {
    pending_.response = Response{.status = 500};
  } else if (state_ == State::Streaming) {
    pending_.is_broken = true;
  } else {
    return;
  }
  complete_and_wake(std::move(lock));
}

Answer::Taken Answer::take() {
  const std::scoped_lock lock(mutex_);
  is_wake_pending_ = false;
  taken_bytes_ = to_index(pending_.bytes.size());
  Taken taken = std::exchange(pending_, {});
  taken.is_complete = state_ == State::Complete;
  return taken;
}

void Answer::handler_returned() {
  const std::scoped_lock lock(mutex_);
  has_handler_returned_ = true;
}

bool Answer::may_be_padded() const {
  const std::scoped_lock lock(mutex_);
  return state_ == State::Open && has_handler_returned_;
}

bool Answer::is_too_slow() const {
  const std::scoped_lock lock(mutex_);
  return is_too_slow_;
}

void Answer::keep_alive() {
  std::function<std::string()> make;
  {
    const std::scoped_lock lock(mutex_);
    if (state_ != State::Streaming) {
      return;
    }
    make = keep_alive_;
  }
  // Without the lock: what it calls may hold one of its own that is also held while sending.
  std::string bytes = make ? make() : std::string();
  std::unique_lock lock(mutex_);
  if (state_ == State::Streaming && !is_discarding_) {
    pending_.bytes.append(bytes);
    wake(std::move(lock));
  }
}

void Answer::disconnect() {
  std::unique_lock lock(mutex_);
  is_discarding_ = true;
  pending_.bytes = {};
  pending_.response.reset();
  fire_disconnect(std::move(lock));
}

void Answer::client_stopped_listening() {
  fire_disconnect(std::unique_lock(mutex_));
}

void Answer::complete_and_wake(std::unique_lock<std::mutex> lock) {
  state_ = State::Complete;
  // They may hold the exchange; destroyed after unlocking, for what they destroy may call us.
  const std::function<void()> callback = std::exchange(on_disconnect_, nullptr);
  const std::function<std::string()> keep_alive = std::exchange(keep_alive_, nullptr);
  wake(std::move(lock));
}

void Answer::wake(std::unique_lock<std::mutex> lock) {
  const bool is_first = !std::exchange(is_wake_pending_, true);
  lock.unlock();
  if (is_first) {
    wake_();
  }
}

void Answer::fire_disconnect(std::unique_lock<std::mutex> lock) {
  is_client_gone_ = true;
  const std::function<void()> callback = std::exchange(on_disconnect_, nullptr);
  lock.unlock();
  if (callback) {
    callback();
  }
}

ExchangePtr make_exchange(std::shared_ptr<const Request> request, std::shared_ptr<Answer> answer) {
  return std::make_shared<AnsweredExchange>(std::move(request), std::move(answer));
}

}  // namespace fathom::http
