// HTTP/1.1 on one connection: reads requests one after another, has them answered, sends the
// answers. Knows neither sockets nor routes.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/serve/http/answer.h"
#include "fathom/serve/http/exchange.h"
#include "fathom/serve/http/request_parser.h"
#include "fathom/serve/http/response_head.h"
#include "fathom/serve/http/transport.h"

namespace fathom::http {

using Milliseconds = std::chrono::milliseconds;

struct ConnectionLimits {
  ParserLimits parser = {};
  Milliseconds header_timeout = std::chrono::seconds(15);  // for all headers, and for TLS to begin
  // A body may take this long, and more as it arrives: at least so many bytes a second.
  Milliseconds body_timeout = std::chrono::seconds(30);
  Index body_bytes_per_s = Index{16} << 10;
  Milliseconds idle_timeout = std::chrono::seconds(75);   // between requests
  Milliseconds write_timeout = std::chrono::seconds(30);  // for 64 KiB to be taken
  Milliseconds linger_timeout = std::chrono::seconds(2);  // for a client to read why it is closed
  Index outbox_bytes = Index{4} << 20;                    // events that wait for a slow reader
  Index pipelined_bytes = Index{64} << 10;  // of requests behind the one that is being answered
  Milliseconds keep_alive_interval = std::chrono::seconds(5);  // of silence in a stream
  Milliseconds padding_interval = std::chrono::seconds(15);    // of silence before an answer
};

// A request that was answered, or not; never a body.
struct AccessRecord {
  std::string peer = {};
  std::string request_id = {};
  std::string method = {};
  std::string path = {};
  std::string key_name = {};
  int status = 0;       // 0: the client went away before
  Index num_bytes = 0;  // sent, headers included
  double seconds = 0;
  std::string problem = {};  // why the answer is not complete; empty when it is
};

class Connection;

// What a connection asks of the server that it belongs to. Thread-safe.
class ConnectionOwner {
 public:
  struct Verdict {
    std::optional<Response> refusal;
    const Handler* handler = nullptr;  // without a refusal
    std::vector<Header> headers;       // added to the answer, whatever it is
    std::shared_ptr<void> lease;       // held until the request is over
  };

  virtual ~ConnectionOwner() = default;
  // Asked before the body is read. Fills in what the request knows from its route and its key.
  virtual Verdict examine(Request& request) = 0;
  // Has it called by a thread for handlers, and `returned` afterwards.
  virtual void handle(const Handler& handler,
                      ExchangePtr exchange,
                      std::function<void()> returned) = 0;
  // The answer that tells of a failure.
  virtual Response error(int status, std::string_view message, const Request& request) const = 0;
  // Whether the server can hold so many more bytes of bodies (fewer, when negative: always).
  virtual bool reserve_body(Index num_bytes) = 0;
  virtual bool is_draining() const = 0;
  virtual void log(const AccessRecord& record) = 0;
  virtual void closed(Connection& connection) = 0;
};

class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Transport> transport,
             std::shared_ptr<ConnectionOwner> owner,
             const ConnectionLimits& limits);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // From any thread. Its owner must hold it until it tells that it is closed.
  void start();
  // Answers 503 and closes, without a look at what is asked.
  void start_refused();
  // Closes as soon as the request under way is answered.
  void drain();
  void abort();

 private:
  enum class Phase { Opening, Idle, Head, Body, Answering, Lingering, Closed };
  using TimePoint = Transport::Clock::time_point;
  using Deadline = std::optional<TimePoint>;

  void open();
  void read();
  void on_read(const std::error_code& error, std::size_t num_bytes);
  void on_input_end();
  void parse();
  bool begin_request();
  void reset_request();
  void on_head();
  bool on_body();
  void take_request_head();
  void refuse(Response response);
  void refuse(int status, std::string_view message);
  void refuse_unread(int status, std::string_view message);
  void dispatch();
  void begin_answer();
  void post_pump();
  void pump();
  void add_response(Response response);
  void begin_events(std::vector<Header> headers);
  void begin_head(ResponseHead head);
  void add_body(std::string_view bytes);
  void pad();
  void write();
  void on_written(const std::error_code& error, std::size_t num_bytes);
  void finish_answer();
  void end_request(std::string problem);
  void linger();
  void close(bool is_reset, std::string problem);

  void arm();
  void on_timer();
  void on_read_timeout();
  static Deadline after(Milliseconds duration) { return Transport::Clock::now() + duration; }

  const std::shared_ptr<Transport> transport_;
  const std::shared_ptr<ConnectionOwner> owner_;
  const ConnectionLimits limits_;
  Phase phase_ = Phase::Opening;

  std::vector<char> read_buffer_;
  std::string input_;              // read and not parsed
  bool is_input_ignored_ = false;  // what comes is thrown away
  bool is_input_ended_ = false;
  bool is_refused_ = false;  // see start_refused()

  std::optional<RequestParser> parser_;
  std::shared_ptr<Request> request_;
  RequestHead head_;
  ConnectionOwner::Verdict verdict_;
  TimePoint request_start_;
  Index reserved_bytes_ = 0;
  AccessRecord record_;

  std::shared_ptr<Answer> answer_;
  std::string output_;
  std::size_t output_offset_ = 0;
  bool is_writing_ = false;
  bool is_head_sent_ = false;
  bool is_chunked_ = false;
  bool is_streaming_ = false;
  bool is_answer_complete_ = false;
  bool closes_after_ = false;

  Deadline read_deadline_;
  Deadline write_deadline_;
  Deadline silence_deadline_;
  Deadline armed_for_;
};

}  // namespace fathom::http
