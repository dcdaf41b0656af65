#include "fathom/serve/http/connection.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/serve/http/target.h"
#include "fathom/serve/http/token.h"

namespace fathom::http {
namespace {

constexpr std::size_t kReadBytes = std::size_t{16} << 10;
constexpr std::size_t kWriteBytes = std::size_t{64} << 10;

std::string chunk_head(std::size_t num_bytes) {
  std::array<char, 16> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), num_bytes, 16).ptr;
  return std::string(digits.data(), end) + "\r\n";
}

}  // namespace

Connection::Connection(std::shared_ptr<Transport> transport,
                       std::shared_ptr<ConnectionOwner> owner,
                       const ConnectionLimits& limits)
    : transport_(std::move(transport)),
      owner_(std::move(owner)),
      limits_(limits),
      read_buffer_(kReadBytes) {}

void Connection::start() {
  transport_->post([self = shared_from_this()] { self->open(); });
}

void Connection::start_refused() {
  is_refused_ = true;
  start();
}

void Connection::drain() {
  transport_->post([self = shared_from_this()] {
    self->closes_after_ = true;
    if (self->phase_ == Phase::Opening || self->phase_ == Phase::Idle) {
      self->close(false, "");
    }
  });
}

void Connection::abort() {
  transport_->post([self = shared_from_this()] { self->close(true, "the server stopped"); });
}

void Connection::open() {
  if (phase_ != Phase::Opening) {
    return;
  }
  read_deadline_ = after(limits_.header_timeout);
  arm();
  transport_->open([self = shared_from_this()](const std::error_code& error, std::size_t) {
    if (self->phase_ == Phase::Closed) {
      return;
    }
    if (error) {
      self->close(true, "");
      return;
    }
    self->phase_ = Phase::Idle;
    // The first request is awaited no longer than its headers may take.
    self->read_deadline_ = after(self->limits_.header_timeout);
    if (self->is_refused_) {
      self->reset_request();
      self->refuse(503, "as many connections are open as may be: try again later");
    }
    self->read();
  });
}

void Connection::read() {
  transport_->read_some(
      read_buffer_.data(), read_buffer_.size(),
      [self = shared_from_this()](const std::error_code& error, std::size_t num_bytes) {
        self->on_read(error, num_bytes);
      });
}

void Connection::on_read(const std::error_code& error, std::size_t num_bytes) {
  if (phase_ == Phase::Closed) {
    return;
  }
  if (error) {
    close(true, "the client went away");
    return;
  }
  if (num_bytes == 0) {
    on_input_end();
    return;
  }
  if (!is_input_ignored_) {
    input_.append(read_buffer_.data(), num_bytes);
    parse();
  }
  if (phase_ == Phase::Answering && to_index(input_.size()) > limits_.pipelined_bytes) {
    // Reading goes on, to notice when the client goes away; it asks again on another connection.
    is_input_ignored_ = true;
    closes_after_ = true;
    input_ = {};
  }
  if (phase_ != Phase::Closed) {
    read();
  }
}

void Connection::on_input_end() {
  is_input_ended_ = true;
  closes_after_ = true;
  if (phase_ == Phase::Head || phase_ == Phase::Body) {
    refuse_unread(400, "the request ended before it was complete");
  } else if (phase_ != Phase::Answering) {
    close(false, "");
    return;
  }
  // It may only have closed its own side: what is ready soon is still sent.
  record_.problem = "the client went away";
  answer_->client_stopped_listening();
}

void Connection::parse() {
  while (phase_ == Phase::Idle || phase_ == Phase::Head || phase_ == Phase::Body) {
    if (phase_ == Phase::Idle && !begin_request()) {
      break;
    }
    input_.erase(0, parser_->feed(input_));
    if (parser_->failure()) {
      const ParseFailure failure = *parser_->failure();
      refuse_unread(failure.status, failure.message);
      break;
    }
    if (phase_ == Phase::Head && parser_->has_head()) {
      on_head();
    }
    if (phase_ != Phase::Body || !on_body()) {
      break;
    }
  }
  arm();
}

// False when nothing of a request is there.
bool Connection::begin_request() {
  // Some clients end a body with a line break that its length does not count (RFC 9112, 2.2).
  input_.erase(0, std::min(input_.find_first_not_of("\r\n"), input_.size()));
  if (input_.empty()) {
    return false;
  }
  phase_ = Phase::Head;
  parser_.emplace(limits_.parser);
  reset_request();
  read_deadline_ = after(limits_.header_timeout);
  return true;
}

void Connection::reset_request() {
  request_ = std::make_shared<Request>();
  request_->request_id = random_token("req_");
  head_ = {};
  verdict_ = {};
  request_start_ = Transport::Clock::now();
}

void Connection::take_request_head() {
  head_ = parser_->take_head();
  request_->method = std::move(head_.method);
  request_->headers = std::move(head_.headers);
  if (std::optional<Target> target = parse_target(head_.target)) {
    request_->path = std::move(target->path);
    request_->query = std::move(target->query);
  }
}

void Connection::on_head() {
  take_request_head();
  if (request_->path.empty()) {
    refuse(400, "the request's path is not a valid one");
    return;
  }
  verdict_ = owner_->examine(*request_);
  if (verdict_.refusal && !parser_->is_done()) {
    refuse(std::move(*verdict_.refusal));
    return;
  }
  phase_ = Phase::Body;
  read_deadline_ = after(limits_.body_timeout);
  if (head_.expects_continue && !head_.is_http_1_0 && !parser_->is_done() && !is_writing_) {
    output_.append("HTTP/1.1 100 Continue\r\n\r\n");
    write();
  }
}

// True when the request is complete and handed on.
bool Connection::on_body() {
  const Index num_bytes = parser_->body_bytes();
  const Index added = num_bytes - reserved_bytes_;
  if (added > 0) {
    if (!owner_->reserve_body(added)) {
      refuse(503, "the server holds as much of requests as it may: try again later");
      return false;
    }
    reserved_bytes_ = num_bytes;
    const std::chrono::seconds earned(num_bytes / limits_.body_bytes_per_s);
    read_deadline_ = std::max(
        *read_deadline_, request_start_ + limits_.body_timeout + std::chrono::milliseconds(earned));
  }
  if (!parser_->is_done()) {
    return false;
  }
  dispatch();
  return true;
}

// Answers without having read the request whole: what follows on the connection has no meaning.
void Connection::refuse(Response response) {
  closes_after_ = true;
  is_input_ignored_ = true;
  input_ = {};
  parser_.reset();
  begin_answer();
  answer_->respond(std::move(response));
}

void Connection::refuse(int status, std::string_view message) {
  refuse(owner_->error(status, message, *request_));
}

// The same; what there is of the head says in whose words.
void Connection::refuse_unread(int status, std::string_view message) {
  if (phase_ == Phase::Head) {
    take_request_head();
  }
  refuse(status, message);
}

void Connection::dispatch() {
  request_->body = parser_->take_body();
  parser_.reset();
  closes_after_ = closes_after_ || !head_.keeps_alive;
  begin_answer();
  if (verdict_.refusal) {
    answer_->respond(std::move(*verdict_.refusal));
  } else {
    owner_->handle(*verdict_.handler, make_exchange(request_, answer_),
                   [answer = answer_] { answer->handler_returned(); });
  }
}

void Connection::begin_answer() {
  phase_ = Phase::Answering;
  record_ = {.peer = transport_->peer(),
             .request_id = request_->request_id,
             .method = request_->method,
             .path = request_->path,
             .key_name = request_->key_name};
  read_deadline_.reset();
  silence_deadline_ = after(limits_.padding_interval);
  is_head_sent_ = is_chunked_ = is_streaming_ = is_answer_complete_ = false;
  answer_ = std::make_shared<Answer>(limits_.outbox_bytes, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) {
      self->post_pump();
    }
  });
}

// From any thread.
void Connection::post_pump() {
  transport_->post([weak = weak_from_this()] {
    if (const auto self = weak.lock()) {
      self->pump();
    }
  });
}

// Moves what the handler answered into the output.
void Connection::pump() {
  if (phase_ != Phase::Answering || is_answer_complete_) {
    return;
  }
  if (answer_->is_too_slow()) {
    close(true, "the client reads too slowly");
    return;
  }
  if (is_writing_) {
    return;
  }
  Answer::Taken taken = answer_->take();
  if (taken.event_headers) {
    begin_events(std::move(*taken.event_headers));
  }
  if (taken.response) {
    add_response(std::move(*taken.response));
  }
  add_body(taken.bytes);
  if (taken.is_broken) {
    close(false, "the answer was not completed");
    return;
  }
  if (taken.is_complete) {
    output_.append(is_chunked_ && record_.method != "HEAD" ? "0\r\n\r\n" : "");
    is_answer_complete_ = true;
    silence_deadline_.reset();
  } else if (is_streaming_) {
    silence_deadline_ = after(limits_.keep_alive_interval);
  }
  write();
}

void Connection::add_response(Response response) {
  if (response.status >= 400 && response.body.empty()) {
    Response error = owner_->error(response.status, reason_phrase(response.status), *request_);
    response.body = std::move(error.body);
    response.content_type = std::move(error.content_type);
  }
  if (!is_head_sent_) {
    const bool has_body = response.status != 204 && response.status != 304;
    ResponseHead head{.status = response.status,
                      .content_type = has_body ? std::move(response.content_type) : "",
                      .headers = std::move(response.headers)};
    if (has_body) {
      head.content_length = to_index(response.body.size());
    }
    begin_head(std::move(head));
    output_.append(has_body && record_.method != "HEAD" ? response.body : "");
  } else {
    add_body(response.body);
  }
}

void Connection::begin_events(std::vector<Header> headers) {
  if (is_head_sent_) {
    close(false, "a stream was begun after white space in front of an answer");
    return;
  }
  is_streaming_ = true;
  ResponseHead head{.content_type = "text/event-stream; charset=utf-8",
                    .headers = std::move(headers),
                    .is_chunked = true};
  head.headers.push_back({"Cache-Control", "no-cache"});
  head.headers.push_back({"X-Accel-Buffering", "no"});  // nginx in front must not hold events back
  begin_head(std::move(head));
}

// The end of a body without a length is the end of the connection for HTTP/1.0.
void Connection::begin_head(ResponseHead head) {
  if (head.is_chunked && head_.is_http_1_0) {
    head.is_chunked = false;
    closes_after_ = true;
  }
  closes_after_ = closes_after_ || owner_->is_draining();
  is_chunked_ = head.is_chunked;
  is_head_sent_ = true;
  record_.status = head.status;
  head.keeps_alive = !closes_after_;
  head.request_id = record_.request_id;
  head.headers.insert(head.headers.end(), verdict_.headers.begin(), verdict_.headers.end());
  output_.append(to_bytes(head));
}

void Connection::add_body(std::string_view bytes) {
  if (bytes.empty() || record_.method == "HEAD") {
    return;
  }
  if (is_chunked_) {
    output_.append(chunk_head(bytes.size())).append(bytes).append("\r\n");
  } else {
    output_.append(bytes);
  }
}

// Clients and proxies give up on a connection that is silent for too long.
void Connection::pad() {
  silence_deadline_ = after(limits_.padding_interval);
  if (is_writing_ || record_.method == "HEAD" || !answer_->may_be_padded()) {
    return;
  }
  if (!is_head_sent_) {
    begin_head({.content_type = "application/json", .is_chunked = true});
  }
  add_body("\n");
  write();
}

void Connection::write() {
  if (phase_ == Phase::Closed || is_writing_) {
    return;
  }
  if (output_offset_ == output_.size()) {
    output_ = {};
    output_offset_ = 0;
    write_deadline_.reset();
    if (is_answer_complete_ && phase_ == Phase::Answering) {
      finish_answer();
    }
    arm();
    return;
  }
  is_writing_ = true;
  write_deadline_ = after(limits_.write_timeout);
  arm();
  transport_->write(
      output_.data() + output_offset_, std::min(output_.size() - output_offset_, kWriteBytes),
      [self = shared_from_this()](const std::error_code& error, std::size_t num_bytes) {
        self->on_written(error, num_bytes);
      });
}

void Connection::on_written(const std::error_code& error, std::size_t num_bytes) {
  is_writing_ = false;
  if (phase_ == Phase::Closed) {
    return;
  }
  if (error) {
    close(true, "the client went away");
    return;
  }
  output_offset_ += num_bytes;
  record_.num_bytes += to_index(num_bytes);
  write();
  if (!is_writing_) {
    pump();
  }
}

void Connection::finish_answer() {
  end_request("");
  if (closes_after_ || owner_->is_draining()) {
    linger();
    return;
  }
  phase_ = Phase::Idle;
  read_deadline_ = after(limits_.idle_timeout);
  parse();
}

void Connection::end_request(std::string problem) {
  if (answer_ == nullptr) {
    return;
  }
  record_.seconds = std::chrono::duration<double>(Transport::Clock::now() - request_start_).count();
  if (!problem.empty()) {
    record_.problem = std::move(problem);
  } else if (record_.status != 0 && is_answer_complete_) {
    record_.problem.clear();
  }
  const std::shared_ptr<Answer> answer = std::exchange(answer_, nullptr);
  verdict_ = {};  // whoever reads of the end in the log finds the key free again
  owner_->log(record_);
  request_.reset();
  silence_deadline_.reset();
  owner_->reserve_body(-std::exchange(reserved_bytes_, 0));
  answer->disconnect();
}

// Closing while bytes of the client are on their way would reset the connection, and it would not
// read our last answer.
void Connection::linger() {
  if (is_input_ended_) {
    close(false, "");
    return;
  }
  phase_ = Phase::Lingering;
  is_input_ignored_ = true;
  input_ = {};
  read_deadline_ = after(limits_.linger_timeout);
  transport_->end_writing();
}

void Connection::close(bool is_reset, std::string problem) {
  if (phase_ == Phase::Closed) {
    return;
  }
  phase_ = Phase::Closed;
  read_deadline_.reset();
  write_deadline_.reset();
  transport_->close(is_reset);
  end_request(std::move(problem));
  owner_->reserve_body(-std::exchange(reserved_bytes_, 0));
  input_ = {};
  owner_->closed(*this);
}

// The timer runs for the earliest deadline; one that was moved to later is found out when it rings.
void Connection::arm() {
  if (phase_ == Phase::Closed) {
    return;
  }
  Deadline earliest;
  for (const Deadline& deadline : {read_deadline_, write_deadline_, silence_deadline_}) {
    if (deadline && (!earliest || *deadline < *earliest)) {
      earliest = deadline;
    }
  }
  if (!earliest || (armed_for_ && *armed_for_ <= *earliest)) {
    return;
  }
  armed_for_ = earliest;
  transport_->call_at(*earliest, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) {
      self->on_timer();
    }
  });
}

void Connection::on_timer() {
  armed_for_.reset();
  const TimePoint now = Transport::Clock::now();
  if (write_deadline_ && now >= *write_deadline_) {
    close(true, "the client reads too slowly");
  } else if (read_deadline_ && now >= *read_deadline_) {
    on_read_timeout();
  } else if (silence_deadline_ && now >= *silence_deadline_ && phase_ == Phase::Answering) {
    if (is_streaming_) {
      silence_deadline_ = after(limits_.keep_alive_interval);
      answer_->keep_alive();
    } else {
      pad();
    }
  }
  arm();
}

void Connection::on_read_timeout() {
  if (phase_ == Phase::Head || phase_ == Phase::Body) {
    refuse_unread(408, "the request did not arrive in time");
  } else {
    close(phase_ == Phase::Opening, "");
  }
}

}  // namespace fathom::http
