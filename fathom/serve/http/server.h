// The HTTP server: listens, finds the handler of a request, answers. Knows no model and no JSON.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/serve/http/connection.h"
#include "fathom/serve/http/exchange.h"
#include "fathom/serve/http/keys.h"
#include "fathom/serve/http/network.h"
#include "fathom/serve/http/router.h"

namespace fathom::http {

// Body and content type of an answer that tells of a failure; the server sets the status.
using ErrorBody =
    std::function<Response(int status, std::string_view message, const Request& request)>;

struct ServerOptions {
  NetworkOptions network = {};
  ConnectionLimits connection = {};
  Index max_connections = 1024;                  // one more is answered 503
  Index buffered_body_bytes = Index{512} << 20;  // of all requests together
  std::vector<std::string> cors_origins = {};    // "https://a.example", or "*"; none by default
  // By which names the server may be called when it asks for no key: see HostCheck. "*": any.
  std::vector<std::string> allowed_hosts = {"*"};
  ErrorBody error_body = {};                                 // empty: {"error": {"message"}}
  std::function<void(const AccessRecord&)> log = {};         // one call a request, from any thread
  std::function<void(const std::string&)> log_problem = {};  // what only a bug causes
};

// Throws InvalidArgument when others than this machine could ask without a key.
void check_exposure(const Endpoint& listen, bool has_keys, bool is_open_on_purpose);

class Server {
 public:
  // Listens and accepts nothing yet; throws as Network does. Without `keys` nobody needs one.
  Server(const ServerOptions& options, Router router, std::shared_ptr<ApiKeys> keys = nullptr);
  ~Server();  // stop(0)
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // With the port that it got.
  const Endpoint& endpoint() const;
  void start();
  // Takes no more requests, waits for those that run, at most so long, and breaks the rest off.
  // Nothing of the server runs afterwards, and its handlers are gone, also while exchanges are
  // held.
  void stop(Milliseconds drain_time);
  Index num_connections() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace fathom::http
