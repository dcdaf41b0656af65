#include "tests/support/wire_session.h"

#include <algorithm>
#include <map>
#include <regex>
#include <stdexcept>

namespace fathom::testing {

std::vector<std::string> WireAnswer::event_names() const {
  std::vector<std::string> names;
  for (const WireEvent& event : events) {
    names.push_back(event.name);
  }
  return names;
}

const Json& WireAnswer::event(const std::string& name) const {
  for (const WireEvent& event : events) {
    if (event.name == name) {
      return event.data;
    }
  }
  throw std::runtime_error("no event " + name);
}

WireSession::WireSession(const AddRoutes& add_routes,
                         std::vector<std::string> replies,
                         WireOptions options)
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

WireAnswer WireSession::post(const std::string& path, const Json& body) {
  return send({.method = "POST", .path = path, .body = body.dump()});
}

WireAnswer WireSession::send(http::Request request) {
  return read(*start(std::move(request)));
}

std::shared_ptr<test::FakeExchange> WireSession::start(http::Request request) {
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

WireAnswer WireSession::read(const test::FakeExchange& exchange) {
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

std::string with_plain_ids(const std::string& bytes) {
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

std::string v4_call(const std::string& tool,
                    const std::vector<std::pair<std::string, std::string>>& strings) {
  std::string text = "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"" + tool + "\">\n";
  for (const auto& [name, value] : strings) {
    text += "<｜DSML｜parameter name=\"" + name + "\" string=\"true\">" + value +
            "</｜DSML｜parameter>\n";
  }
  return text + "</｜DSML｜invoke>\n</｜DSML｜tool_calls>";
}

}  // namespace fathom::testing
