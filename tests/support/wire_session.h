// A wire format in front of a scripted engine: requests in, answers and prompts out.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "fathom/serve/http/router.h"
#include "fathom/serve/wire/service.h"

#include "tests/support/fake_exchange.h"
#include "tests/support/replay_engine.h"

namespace fathom::testing {

using Json = nlohmann::ordered_json;

struct WireEvent {
  std::string name;
  Json data;
};

struct WireAnswer {
  int status = 200;
  Json body = {};  // of an answer that is no stream
  std::vector<http::Header> headers = {};
  std::vector<WireEvent> events = {};  // of a stream
  bool is_stream = false;
  std::string bytes = {};

  std::vector<std::string> event_names() const;
  // The first event of that name; throws without one.
  const Json& event(const std::string& name) const;
};

struct WireOptions {
  ReplayOptions engine = {};
  wire::ServiceOptions service = {};
};

class WireSession {
 public:
  using AddRoutes = std::function<void(http::Router&, std::shared_ptr<wire::Service>)>;

  // Every reply is the next of `replies`, the last one again and again.
  WireSession(const AddRoutes& add_routes,
              std::vector<std::string> replies,
              WireOptions options = {});

  wire::Service& service() { return *service_; }
  ReplayEngine& engine() { return *engine_; }
  std::string last_prompt() const { return engine_->prompts().back(); }

  WireAnswer post(const std::string& path, const Json& body);
  WireAnswer send(http::Request request);

  // Runs the handler and returns the exchange, whose answer may be on its way.
  std::shared_ptr<test::FakeExchange> start(http::Request request);

  static WireAnswer read(const test::FakeExchange& exchange);

 private:
  std::vector<std::string> replies_;
  std::size_t num_replies_ = 0;
  std::shared_ptr<ReplayEngine> engine_;
  std::shared_ptr<wire::Service> service_;
  http::Router router_;
};

// An answer's bytes with the ids that servers draw numbered by their first appearance, and without
// the time.
std::string with_plain_ids(const std::string& bytes);

// A call as the model writes it, after its reasoning.
std::string v4_call(const std::string& tool,
                    const std::vector<std::pair<std::string, std::string>>& strings);

}  // namespace fathom::testing
