#include "fathom/serve/anthropic/messages.h"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "fathom/serve/anthropic/messages_request.h"
#include "fathom/serve/anthropic/messages_writer.h"
#include "fathom/serve/wire/delivery.h"
#include "fathom/serve/wire/json_body.h"
#include "fathom/serve/wire/json_writer.h"

namespace fathom::anthropic {
namespace {

using ServicePtr = std::shared_ptr<wire::Service>;

// Turns the prompt into tokens; what answering needs stays in the request.
engine::PreparedRequest prepare(MessagesRequest& request,
                                const engine::Engine& engine,
                                const engine::ModelLimits& limits) {
  engine::GenerateRequest generate = std::move(request.generate);
  request.generate = {};
  request.generate.max_tokens = generate.max_tokens;
  request.generate.stop_strings = generate.stop_strings;
  return engine::prepare(std::move(generate), engine.text(), limits);
}

void create(const http::ExchangePtr& exchange, const ServicePtr& service) {
  const text::JsonValue body = wire::parse_body(exchange->request());
  MessagesRequest request =
      read_messages_request(exchange->request(), body, *service, Purpose::Message);
  const wire::ServedModel& model = service->model(request.model);
  if (request.model.empty()) {
    request.model = model.name;
  }
  std::vector<engine::PreparedRequest> prepared;
  prepared.push_back(prepare(request, *model.engine, model.engine->limits()));
  const Index num_prompt_tokens = prepared.front().num_prompt_tokens();
  deliver(
      exchange, model.engine, std::move(prepared),
      std::make_shared<MessagesWriter>(exchange, *service, std::move(request), num_prompt_tokens));
}

void count_tokens(const http::ExchangePtr& exchange, const ServicePtr& service) {
  const text::JsonValue body = wire::parse_body(exchange->request());
  MessagesRequest request =
      read_messages_request(exchange->request(), body, *service, Purpose::Count);
  const wire::ServedModel& model = service->model(request.model);
  // Whoever counts wants to know by how much a prompt is too long.
  engine::ModelLimits limits = model.engine->limits();
  limits.max_context = std::numeric_limits<std::int32_t>::max();
  const Index num_tokens = prepare(request, *model.engine, limits).num_prompt_tokens();
  wire::JsonWriter writer;
  writer.begin_object().field("input_tokens", num_tokens);
  exchange->respond({.body = writer.end_object().take(),
                     .headers = {{"request-id", exchange->request().request_id}}});
}

void hello(const http::ExchangePtr& exchange) {
  exchange->respond({.body = R"({"message":"hello"})"});
}

}  // namespace

void add_routes(http::Router& router, ServicePtr service) {
  const auto add = [&](const std::string& path, auto* handle) {
    router.add(
        "POST", path,
        wire::answering_errors(
            [service, handle](const http::ExchangePtr& exchange) { handle(exchange, service); },
            wire::ErrorShape::Anthropic));
  };
  for (const char* const prefix : {"", "/anthropic"}) {
    const std::string path = std::string(prefix) + "/v1/messages";
    add(path, &create);
    add(path + "/count_tokens", &count_tokens);
    router.add("GET", std::string(prefix) + "/api/hello", &hello, http::Access::Open);
  }
  router.add("HEAD", "/", &hello, http::Access::Open);
}

}  // namespace fathom::anthropic
