// One HTTP request and its answer, as handlers see them: no sockets, no threads.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fathom::http {

struct Header {
  std::string name;
  std::string value;
};

struct Request {
  std::string method = {};  // "GET"
  std::string path = {};    // decoded, without the query: "/v1/models"
  std::string query = {};   // raw, without the '?'
  std::vector<Header> headers = {};
  std::string body = {};
  std::string path_parameter = {};  // what stood for "{name}" in the route's path
  std::string request_id = {};      // made by the server
  std::string key_name = {};        // of the API key that was used; empty without keys

  // The first header of that name in any case; empty when there is none.
  std::string_view header(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body = {};
  std::vector<Header> headers = {};
};

// Whoever holds it may answer from any thread. An exchange that is dropped without an answer is
// answered with 500.
class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual const Request& request() const = 0;

  // Answers at once. While a long answer is in the making, the server keeps the connection alive
  // by itself: it begins a 200 with white space in front of the body.
  virtual void respond(Response response) = 0;

  // Begins a stream of server-sent events: headers go out at once. `keep_alive`, which may be
  // empty, makes what is sent after a silence (ServerOptions::keep_alive_interval); it is called by
  // another thread and must return at once. Call it before the handler returns: after that, white
  // space may have been sent in front of an answer, which closes the connection of a stream.
  virtual void begin_events(std::vector<Header> headers,
                            std::function<std::string()> keep_alive) = 0;
  // Sends bytes, already framed as events. Never blocks: a client that reads too slowly to be
  // waited for is disconnected.
  virtual void send(std::string chunk) = 0;
  virtual void end_events() = 0;

  // Called once, from any thread, when the client goes away before respond() or end_events(); at
  // once when it has gone already. One callback at a time. Whatever is sent afterwards is dropped.
  virtual void on_disconnect(std::function<void()> callback) = 0;
};

using ExchangePtr = std::shared_ptr<Exchange>;
// Must not throw: what escapes is answered with 500.
using Handler = std::function<void(const ExchangePtr& exchange)>;

}  // namespace fathom::http
