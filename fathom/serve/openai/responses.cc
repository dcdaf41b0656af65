#include "fathom/serve/openai/responses.h"

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/serve/openai/responses_request.h"
#include "fathom/serve/openai/responses_writer.h"
#include "fathom/serve/openai/token_texts.h"
#include "fathom/serve/wire/delivery.h"
#include "fathom/serve/wire/json_body.h"
#include "fathom/serve/wire/json_writer.h"

namespace fathom::openai {
namespace {

using ServicePtr = std::shared_ptr<wire::Service>;

std::int64_t now_s() {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(since_epoch).count();
}

void create(const http::ExchangePtr& exchange,
            const ServicePtr& service,
            const TokenTextsOfEngines& texts) {
  const text::JsonValue body = wire::parse_body(exchange->request());
  ResponsesRequest request = read_responses_request(exchange->request(), body, *service);
  const wire::ServedModel& model = service->model(request.model);
  if (request.model.empty()) {
    request.model = model.name;
  }
  const auto spelt = request.has_logprobs ? texts.of(*model.engine) : nullptr;
  std::vector<engine::PreparedRequest> prepared;
  prepared.push_back(
      engine::prepare(std::move(request.generate), model.engine->text(), model.engine->limits()));
  deliver(
      exchange, model.engine, std::move(prepared),
      std::make_shared<ResponsesWriter>(exchange, *service, std::move(request), spelt, now_s()));
}

[[noreturn]] void fail_unknown(const std::string& id) {
  fail(ErrorCode::NotFound, "id: expected a response that this server stores, found \"", id, "\"");
}

void retrieve(const http::ExchangePtr& exchange, const ServicePtr& service) {
  const http::Request& request = exchange->request();
  if (request.query.find("stream=true") != std::string::npos) {
    fail(ErrorCode::Unsupported, "stream: a stored response is given as a whole");
  }
  const std::string& id = request.path_parameter;
  const wire::StoredConversationPtr stored = service->store()->find(request.key_name, id);
  if (stored == nullptr || !stored->is_retrievable || !id.starts_with("resp_")) {
    fail_unknown(id);
  }
  exchange->respond({.body = stored->document});
}

void remove(const http::ExchangePtr& exchange, const ServicePtr& service) {
  const http::Request& request = exchange->request();
  const std::string& id = request.path_parameter;
  if (!id.starts_with("resp_") || !service->store()->erase(request.key_name, id)) {
    fail_unknown(id);
  }
  wire::JsonWriter writer;
  writer.begin_object().field("id", id).field("object", "response").field("deleted", true);
  exchange->respond({.body = writer.end_object().take()});
}

}  // namespace

void add_responses_routes(http::Router& router, const ServicePtr& service) {
  const auto add = [&](const char* method, const std::string& path, const http::Handler& handler) {
    router.add(method, path, wire::answering_errors(handler, wire::ErrorShape::OpenAi));
  };
  const auto texts = std::make_shared<const TokenTextsOfEngines>();
  for (const char* const prefix : {"/v1", ""}) {
    const std::string path = std::string(prefix) + "/responses";
    add("POST", path,
        [service, texts](const http::ExchangePtr& exchange) { create(exchange, service, *texts); });
    add("GET", path + "/{id}",
        [service](const http::ExchangePtr& exchange) { retrieve(exchange, service); });
    add("DELETE", path + "/{id}",
        [service](const http::ExchangePtr& exchange) { remove(exchange, service); });
  }
}

}  // namespace fathom::openai
