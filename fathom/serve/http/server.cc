#include "fathom/serve/http/server.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <unordered_set>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/serve/http/field_value.h"
#include "fathom/serve/http/host_check.h"

namespace fathom::http {
namespace {

// Connections beyond the limit that are told so; further ones are just closed.
constexpr Index kMaxRefused = 64;

// Our messages are ASCII; the escapes of formats::quote are all that needs escaping.
Response plain_error(int status, std::string_view message) {
  std::string body = R"({"error":{"message":")";
  for (const char c : message) {
    if (c == '"' || c == '\\') {
      body.push_back('\\');
    }
    body.push_back(c);
  }
  return {.status = status, .body = body.append("\"}}")};
}

}  // namespace

void check_exposure(const Endpoint& listen, bool has_keys, bool is_open_on_purpose) {
  if (!has_keys && !is_open_on_purpose && !is_loopback(listen)) {
    fail(ErrorCode::InvalidArgument, "listen: ", to_string(listen),
         " can be reached from other machines, where anybody could use this server: name a file "
         "with API keys (--api-keys FILE), or say --no-auth if that is meant");
  }
}

class Server::Impl final : public ConnectionOwner, public std::enable_shared_from_this<Impl> {
 public:
  Impl(const ServerOptions& options, Router router, std::shared_ptr<ApiKeys> keys)
      : options_(options),
        router_(std::move(router)),
        keys_(std::move(keys)),
        host_check_(options.network.listen.host, options.allowed_hosts),
        network_(options.network) {}

  const Endpoint& endpoint() const { return network_.endpoint(); }

  void start() {
    network_.start([this](std::shared_ptr<Transport> transport) { accept(std::move(transport)); });
  }

  void stop(Milliseconds drain_time) {
    if (std::exchange(is_stopped_, true)) {
      return;
    }
    is_draining_ = true;
    network_.stop_accepting();
    for_each_connection(&Connection::drain);
    if (!wait_until_closed(drain_time)) {
      for_each_connection(&Connection::abort);
    }
    network_.join();
    // Whoever still holds an exchange holds this server, and must not hold through its handlers
    // what they answer with: an engine that its own thread drops last would wait for itself.
    router_ = {};
  }

  Index num_connections() const {
    const std::scoped_lock lock(mutex_);
    return to_index(connections_.size());
  }

  Verdict examine(Request& request) override;
  void handle(const Handler& handler,
              ExchangePtr exchange,
              std::function<void()> returned) override;
  Response error(int status, std::string_view message, const Request& request) const override;
  bool reserve_body(Index num_bytes) override;
  bool is_draining() const override { return is_draining_; }
  void log(const AccessRecord& record) override {
    if (options_.log) {
      options_.log(record);
    }
  }
  void closed(Connection& connection) override {
    const std::scoped_lock lock(mutex_);
    connections_.erase(connection.shared_from_this());
    all_closed_.notify_all();
  }

 private:
  void accept(std::shared_ptr<Transport> transport);
  void for_each_connection(void (Connection::*action)());
  bool wait_until_closed(Milliseconds duration);
  std::optional<Response> refuse_route(const Request& request, const Router::Match& match) const;
  bool is_allowed_origin(std::string_view origin) const;
  void add_cors(const Request& request, Verdict& verdict) const;

  const ServerOptions options_;
  Router router_;  // unchanged until all has stopped
  const std::shared_ptr<ApiKeys> keys_;
  const HostCheck host_check_;
  Network network_;
  bool is_stopped_ = false;
  std::atomic<bool> is_draining_ = false;
  std::atomic<Index> num_body_bytes_ = 0;
  mutable std::mutex mutex_;
  std::condition_variable all_closed_;
  std::unordered_set<std::shared_ptr<Connection>> connections_;  // until they are closed
};

void Server::Impl::accept(std::shared_ptr<Transport> transport) {
  auto connection =
      std::make_shared<Connection>(std::move(transport), shared_from_this(), options_.connection);
  Index num_open = 0;
  {
    const std::scoped_lock lock(mutex_);
    num_open = to_index(connections_.size());
    if (is_draining_ || num_open >= options_.max_connections + kMaxRefused) {
      return;
    }
    connections_.insert(connection);
  }
  if (num_open < options_.max_connections) {
    connection->start();
  } else {
    connection->start_refused();
  }
}

void Server::Impl::for_each_connection(void (Connection::*action)()) {
  std::vector<std::shared_ptr<Connection>> open;
  {
    const std::scoped_lock lock(mutex_);
    open.assign(connections_.begin(), connections_.end());
  }
  for (const auto& connection : open) {
    (connection.get()->*action)();
  }
}

bool Server::Impl::wait_until_closed(Milliseconds duration) {
  std::unique_lock lock(mutex_);
  return all_closed_.wait_for(lock, duration, [&] { return connections_.empty(); });
}

ConnectionOwner::Verdict Server::Impl::examine(Request& request) {
  Verdict verdict;
  const Router::Match match = router_.find(request.method, request.path);
  add_cors(request, verdict);
  if (std::optional<Response> refusal = refuse_route(request, match)) {
    verdict.refusal = std::move(refusal);
    return verdict;
  }
  verdict.handler = match.handler;
  request.path_parameter = match.parameter;
  if (keys_ == nullptr || match.access == Access::Open) {
    return verdict;
  }
  ApiKeys::Admission admission = keys_->admit(request, Transport::Clock::now());
  request.key_name = std::move(admission.key_name);
  verdict.lease = std::move(admission.lease);
  if (admission.status != 200) {
    verdict.refusal = error(admission.status, admission.message, request);
    if (admission.status == 401) {
      verdict.refusal->headers.push_back({"WWW-Authenticate", "Bearer"});
    } else {
      verdict.refusal->headers.push_back({"Retry-After", std::to_string(admission.retry_after_s)});
    }
  }
  return verdict;
}

std::optional<Response> Server::Impl::refuse_route(const Request& request,
                                                   const Router::Match& match) const {
  if (is_draining_) {
    return error(503, "the server is shutting down", request);
  }
  if (keys_ == nullptr && !host_check_.passes(request.header("host"))) {
    return error(403,
                 "host: this server goes by localhost and its addresses, found " +
                     formats::quote(request.header("host")) +
                     "; another name can be allowed with --allow-host",
                 request);
  }
  const std::string_view origin = request.header("origin");
  const bool is_safe = request.method == "GET" || request.method == "HEAD";
  if (match.handler == nullptr && match.allowed_methods.empty()) {
    return error(404, "nothing is at " + formats::quote(request.path), request);
  }
  if (match.handler == nullptr && request.method == "OPTIONS") {
    return Response{.status = 204, .headers = {{"Allow", match.allowed_methods + ", OPTIONS"}}};
  }
  if (match.handler == nullptr) {
    Response response = error(405, "the method is none of " + match.allowed_methods, request);
    response.headers.push_back({"Allow", match.allowed_methods + ", OPTIONS"});
    return response;
  }
  // Any page that a browser shows could otherwise use a server that asks for no key.
  if (keys_ == nullptr && !is_safe && !origin.empty() && !is_allowed_origin(origin) &&
      origin.substr(std::min(origin.find("://") + 3, origin.size())) != request.header("host")) {
    return error(403,
                 "origin: web pages of " + formats::quote(origin) +
                     " may not use this server; it can be allowed with --cors-origin",
                 request);
  }
  return std::nullopt;
}

bool Server::Impl::is_allowed_origin(std::string_view origin) const {
  return std::any_of(
      options_.cors_origins.begin(), options_.cors_origins.end(),
      [&](const std::string& allowed) { return allowed == "*" || allowed == origin; });
}

// WHATWG Fetch, "CORS protocol".
void Server::Impl::add_cors(const Request& request, Verdict& verdict) const {
  const std::string_view origin = request.header("origin");
  if (options_.cors_origins.empty()) {
    return;
  }
  verdict.headers.push_back({"Vary", "Origin"});
  if (origin.empty() || !is_allowed_origin(origin)) {
    return;
  }
  verdict.headers.push_back({"Access-Control-Allow-Origin", std::string(origin)});
  verdict.headers.push_back(
      {"Access-Control-Expose-Headers", "x-request-id, request-id, retry-after"});
  if (request.method == "OPTIONS" && !request.header("access-control-request-method").empty()) {
    verdict.headers.push_back({"Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE"});
    verdict.headers.push_back({"Access-Control-Allow-Headers",
                               std::string(request.header("access-control-request-headers"))});
    verdict.headers.push_back({"Access-Control-Max-Age", "86400"});
  }
}

void Server::Impl::handle(const Handler& handler,
                          ExchangePtr exchange,
                          std::function<void()> returned) {
  network_.run_handler(
      [this, &handler, exchange = std::move(exchange), returned = std::move(returned)] {
        try {
          handler(exchange);
        } catch (const std::exception& error) {
          if (options_.log_problem) {
            options_.log_problem("the handler of " + exchange->request().path +
                                 " failed: " + error.what());
          }
        }
        returned();
      });
}

Response Server::Impl::error(int status, std::string_view message, const Request& request) const {
  Response response = options_.error_body ? options_.error_body(status, message, request)
                                          : plain_error(status, message);
  response.status = status;
  if (status == 503) {
    response.headers.push_back({"Retry-After", "1"});
  }
  return response;
}

bool Server::Impl::reserve_body(Index num_bytes) {
  const Index total = num_body_bytes_.fetch_add(num_bytes) + num_bytes;
  if (num_bytes > 0 && total > options_.buffered_body_bytes) {
    num_body_bytes_.fetch_sub(num_bytes);
    return false;
  }
  return true;
}

Server::Server(const ServerOptions& options, Router router, std::shared_ptr<ApiKeys> keys)
    : impl_(std::make_shared<Impl>(options, std::move(router), std::move(keys))) {}

Server::~Server() {
  stop(Milliseconds(0));
}

const Endpoint& Server::endpoint() const {
  return impl_->endpoint();
}
void Server::start() {
  impl_->start();
}
void Server::stop(Milliseconds drain_time) {
  impl_->stop(drain_time);
}
Index Server::num_connections() const {
  return impl_->num_connections();
}

}  // namespace fathom::http
