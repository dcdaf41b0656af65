// A server on a free port for tests of HTTP, with a few routes and records of what happened.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fathom/serve/http/server.h"

#include "tests/support/http_client.h"

namespace fathom::test {

// GET /hello, GET /open (without a key), GET /names/{name}, POST /echo, POST /size; POST /hold,
// whose exchange the test takes and answers; POST /stream, a stream of three events;
// POST /slow_stream, one that begins after a tenth of a second; GET /throw.
class HttpServer {
 public:
  explicit HttpServer(http::ServerOptions options = {}, std::shared_ptr<http::ApiKeys> keys = {}) {
    options.network.listen.port = 0;
    options.log = [this](const http::AccessRecord& record) {
      const std::scoped_lock lock(mutex_);
      records_.push_back(record);
      changed_.notify_all();
    };
    options.log_problem = [this](const std::string& problem) {
      const std::scoped_lock lock(mutex_);
      problems_.push_back(problem);
    };
    server_ = std::make_unique<http::Server>(options, routes(), std::move(keys));
    server_->start();
  }

  http::Server& operator*() { return *server_; }
  http::Server* operator->() { return server_.get(); }
  int port() const { return server_->endpoint().port; }
  HttpClient connect(int receive_bytes = 0) const { return HttpClient(port(), receive_bytes); }
  void destroy() { server_.reset(); }

  // The next exchange of /hold; null after half a minute.
  http::ExchangePtr take_held() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kPatience, [&] { return !held_.empty(); })) {
      return nullptr;
    }
    http::ExchangePtr exchange = std::move(held_.front());
    held_.erase(held_.begin());
    return exchange;
  }

  // Once so many requests are over; fewer after half a minute.
  std::vector<http::AccessRecord> wait_for_records(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kPatience, [&] { return records_.size() >= count; });
    return records_;
  }
  std::vector<std::string> problems() {
    const std::scoped_lock lock(mutex_);
    return problems_;
  }

 private:
  static constexpr std::chrono::seconds kPatience{30};

  http::Router routes() {
    http::Router router;
    const auto hello = [](const http::ExchangePtr& exchange) {
      exchange->respond({.content_type = "text/plain", .body = "hello"});
    };
    router.add("GET", "/hello", hello);
    router.add("GET", "/open", hello, http::Access::Open);
    router.add("GET", "/names/{name}", [](const http::ExchangePtr& exchange) {
      exchange->respond({.body = exchange->request().path_parameter});
    });
    router.add("POST", "/echo", [](const http::ExchangePtr& exchange) {
      exchange->respond({.body = exchange->request().body});
    });
    router.add("POST", "/size", [](const http::ExchangePtr& exchange) {
      exchange->respond({.body = std::to_string(exchange->request().body.size())});
    });
    router.add("POST", "/hold", [this](const http::ExchangePtr& exchange) {
      const std::scoped_lock lock(mutex_);
      held_.push_back(exchange);
      changed_.notify_all();
    });
    router.add("POST", "/stream", [](const http::ExchangePtr& exchange) {
      exchange->begin_events({{"x-extra", "1"}}, nullptr);
      for (const char* event : {"data: a\n\n", "data: b\n\n", "data: c\n\n"}) {
        exchange->send(event);
      }
      exchange->end_events();
    });
    router.add("POST", "/slow_stream", [](const http::ExchangePtr& exchange) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      exchange->begin_events({}, nullptr);
      exchange->send("data: a\n\n");
      exchange->end_events();
    });
    router.add("GET", "/throw",
               [](const http::ExchangePtr&) { throw std::runtime_error("out of luck"); });
    return router;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<http::ExchangePtr> held_;
  std::vector<http::AccessRecord> records_;
  std::vector<std::string> problems_;
  std::unique_ptr<http::Server> server_;
};

// A whole request; without a body when there is none.
inline std::string http_request(std::string_view method,
                                std::string_view target,
                                std::string_view body = {},
                                std::string_view more_headers = {}) {
  std::string request;
  request.append(method).append(" ").append(target).append(" HTTP/1.1\r\nHost: test\r\n");
  request.append(more_headers);
  if (!body.empty()) {
    request.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
  }
  return request.append("\r\n").append(body);
}

}  // namespace fathom::test
