// The endpoints of a server without the server: requests go to handlers, a scripted engine answers.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fathom/serve/http/router.h"
#include "fathom/serve/wire/service.h"

#include "tests/support/fake_exchange.h"
#include "tests/support/replay_engine.h"

namespace fathom::testing {

using ExchangePtr = std::shared_ptr<test::FakeExchange>;

class TestApi {
 public:
  using AddRoutes =
      std::function<void(http::Router& router, std::shared_ptr<wire::Service> service)>;

  TestApi(const AddRoutes& add_routes,
          ReplayOptions options,
          const wire::ServiceOptions& service_options = {},
          const text::TextModel& text = v4_text_model());

  // The exchange after its handler returned: complete unless the engine is threaded. A path without
  // a handler is answered as a server would, with 404 or 405 and no body.
  ExchangePtr send(http::Request request) const;
  ExchangePtr post(std::string path, std::string body) const;
  ExchangePtr get(std::string path, std::vector<http::Header> headers = {}) const;

  ReplayEngine& engine() const { return *engine_; }
  const http::Router& router() const { return router_; }

 private:
  std::shared_ptr<ReplayEngine> engine_;
  std::shared_ptr<wire::Service> service_;
  http::Router router_;
};

// A script that gives every prompt the same reply.
ReplayOptions replying(std::string reply);

// Without what differs from run to run: the random part of ids, by the order in which they come
// (`call_#0`), and times.
std::string without_chance(const std::string& text);

}  // namespace fathom::testing
