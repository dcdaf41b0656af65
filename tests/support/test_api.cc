#include "tests/support/test_api.h"

#include <cstddef>
#include <map>
#include <regex>
#include <utility>

namespace fathom::testing {

TestApi::TestApi(const AddRoutes& add_routes,
                 ReplayOptions options,
                 const wire::ServiceOptions& service_options,
                 const text::TextModel& text)
    : engine_(std::make_shared<ReplayEngine>(text, std::move(options))),
      service_(std::make_shared<wire::Service>(
          std::vector<wire::ServedModel>{
              {.name = "test-model", .engine = engine_, .created_s = 1700000000}},
          service_options)) {
  add_routes(router_, service_);
}

ExchangePtr TestApi::send(http::Request request) const {
  const auto match = router_.find(request.method, request.path);
  request.path_parameter = match.parameter;  // as the server does
  const auto exchange = std::make_shared<test::FakeExchange>(std::move(request));
  if (match.handler == nullptr) {
    exchange->respond({.status = match.allowed_methods.empty() ? 404 : 405});
  } else {
    (*match.handler)(exchange);
  }
  return exchange;
}

ExchangePtr TestApi::post(std::string path, std::string body) const {
  return send({.method = "POST", .path = std::move(path), .body = std::move(body)});
}

ExchangePtr TestApi::get(std::string path, std::vector<http::Header> headers) const {
  return send({.method = "GET", .path = std::move(path), .headers = std::move(headers)});
}

ReplayOptions replying(std::string reply) {
  return {
      .reply = [reply = std::move(reply)](const engine::PreparedRequest&, Index) { return reply; }};
}

std::string without_chance(const std::string& text) {
  static const std::regex kChance(R"((_|-)([0-9a-zA-Z]{24})\b|"created(_at)?":[0-9]+)");
  std::map<std::string, std::size_t> numbers;
  std::string result;
  std::size_t end = 0;
  for (std::sregex_iterator match(text.begin(), text.end(), kChance), none; match != none;
       ++match) {
    result += text.substr(end, static_cast<std::size_t>(match->position()) - end);
    end = static_cast<std::size_t>(match->position() + match->length());
    if ((*match)[2].matched) {
      const std::size_t number =
          numbers.try_emplace((*match)[2].str(), numbers.size()).first->second;
      result += (*match)[1].str() + "#" + std::to_string(number);
    } else {
      result += R"("created":0)";
    }
  }
  return result + text.substr(end);
}

}  // namespace fathom::testing
