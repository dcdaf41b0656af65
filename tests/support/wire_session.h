// A wire format in front of a scripted engine: requests in, answers and prompts out.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <regex>
#include <stdexcept>
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

  std::vector<std::string> event_names() const {
    std::vector<std::string> names;
    for (const WireEvent& event : events) {
      names.push_back(event.name);
    }
    return names;
  }
  // The first event of that name; throws without one.
  const Json& event(const std::string& name) const {
    for (const WireEvent& event : events) {
      if (event.name == name) {
        return event.data;
      }
    }
    throw std::runtime_error("no event " + name);
  }
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
              WireOptions options = {})
      : replies_(std::move(replies)) {
    options.engine.reply = [this](const engine::PreparedRequest&, Index) {
      return replies_[std::min(num_replies_++, replies_.size() - 1)];
    };
    engine_ = std::make_shared<ReplayEngine>(v4_text_model(), options.engine);
    service_ = std::make_shared<wire::Service>(
        std::vector<wire::ServedModel>{{.name = "v4", .engine = engine_, .created_s = 1}},
        options.service);
    add_routes(router_, service_);
  }

  wire::Service& service() { return *service_; }
  ReplayEngine& engine() { return *engine_; }
  std::string last_prompt() const { return engine_->prompts().back(); }

  WireAnswer post(const std::string& path, const Json& body) {
    return send({.method = "POST", .path = path, .body = body.dump()});
  }
  WireAnswer send(http::Request request) { return read(*start(std::move(request))); }

  // Runs the handler and returns the exchange, whose answer may be on its way.
  std::shared_ptr<test::FakeExchange> start(http::Request request) {
    const http::Router::Match match = router_.find(request.method, request.path);
    if (match.handler == nullptr) {
      throw std::runtime_error("no route for " + request.method + " " + request.path);
    }
    request.path_parameter = match.parameter;  // as the server does
    if (request.request_id.empty()) {
      request.request_id = "req_1";
    }
    const auto exchange = std::make_shared<test::FakeExchange>(std::move(request));
    (*match.handler)(exchange);
    return exchange;
  }

  static WireAnswer read(const test::FakeExchange& exchange) {
    if (!exchange.misuse().empty() || !exchange.is_complete()) {
      throw std::runtime_error("exchange: " + exchange.misuse() +
                               " (complete: " + std::to_string(exchange.is_complete()) + ")");
    }
    WireAnswer answer;
    answer.is_stream = exchange.is_streaming();
    if (answer.is_stream) {
      answer.headers = exchange.event_headers();
      answer.bytes = exchange.events();
      for (const test::ServerEvent& event : test::read_events(answer.bytes)) {
        answer.events.push_back({event.name, Json::parse(event.data)});
      }
      return answer;
    }
    const http::Response response = *exchange.response();
    answer.status = response.status;
    answer.headers = response.headers;
    answer.bytes = response.body;
    if (!response.body.empty()) {
      answer.body = Json::parse(response.body);
    }
    return answer;
  }

 private:
  std::vector<std::string> replies_;
  std::size_t num_replies_ = 0;
  std::shared_ptr<ReplayEngine> engine_;
  std::shared_ptr<wire::Service> service_;
  http::Router router_;
};

// An answer's bytes with the ids that servers draw numbered by their first appearance, and without
// the time.
inline std::string with_plain_ids(const std::string& bytes) {
  static const std::regex kId("(resp|rs|msg|fc|ctc|call|toolu)_[0-9A-Za-z]{24}");
  std::map<std::string, std::string> names;
  std::string plain;
  auto end = bytes.cbegin();
  for (std::sregex_iterator match(bytes.begin(), bytes.end(), kId), none; match != none; ++match) {
    const auto named =
        names.emplace(match->str(), (*match)[1].str() + "_" + std::to_string(names.size() + 1));
    plain.append(end, bytes.cbegin() + match->position());
    plain += named.first->second;
    end = bytes.cbegin() + match->position() + match->length();
  }
  plain.append(end, bytes.cend());
  return std::regex_replace(plain, std::regex("\"created_at\":[0-9]+"), "\"created_at\":0");
}

// A call as the model writes it, after its reasoning.
inline std::string v4_call(const std::string& tool,
                           const std::vector<std::pair<std::string, std::string>>& strings) {
  std::string text = "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"" + tool + "\">\n";
  for (const auto& [name, value] : strings) {
    text += "<｜DSML｜parameter name=\"" + name + "\" string=\"true\">" + value +
            "</｜DSML｜parameter>\n";
  }
  return text + "</｜DSML｜invoke>\n</｜DSML｜tool_calls>";
}

}  // namespace fathom::testing
