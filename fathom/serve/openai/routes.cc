#include "fathom/serve/openai/routes.h"

#include <functional>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/serve/openai/api_document.h"
#include "fathom/serve/openai/chat_reply.h"
#include "fathom/serve/openai/chat_request.h"
#include "fathom/serve/openai/completion_reply.h"
#include "fathom/serve/openai/completion_request.h"
#include "fathom/serve/openai/model_routes.h"
#include "fathom/serve/openai/token_routes.h"
#include "fathom/serve/wire/delivery.h"
#include "fathom/serve/wire/json_body.h"
#include "fathom/serve/wire/turn_memory.h"

namespace fathom::openai {
namespace {

using http::ExchangePtr;
using wire::ServedModel;

// What all handlers share. They run at once on several threads.
class Api {
 public:
  explicit Api(std::shared_ptr<wire::Service> service) : service_(std::move(service)) {}

  wire::Service& service() const { return *service_; }

  std::shared_ptr<const TokenTexts> texts(const engine::Engine& engine) const {
    return texts_.of(engine);
  }

 private:
  const std::shared_ptr<wire::Service> service_;
  TokenTextsOfEngines texts_;
};
using ApiPtr = std::shared_ptr<const Api>;

// What is wrong with a constraint is wrong with the field that gave it.
void check_constraint(const engine::Engine& engine,
                      const engine::ContentRule& rule,
                      const std::string& field) {
  try {
    static_cast<void>(engine.text().constraint(rule));
  } catch (const Error& error) {
    fail(error.code(), field, ": ", error.what());
  }
}

void answer_chat(const Api& api, const ExchangePtr& exchange) {
  const text::JsonValue body = wire::parse_body(exchange->request());
  ChatRequest chat = read_chat(body, exchange->request(), api.service().options());
  const ServedModel& model = api.service().model(chat.model);
  check_constraint(*model.engine, chat.generate.content, chat.constraint_field);
  const std::shared_ptr<wire::ConversationStore>& store = api.service().store();
  const std::string& owner = exchange->request().key_name;
  wire::restore_turns(std::get<engine::ChatPrompt>(chat.generate.prompt).conversation.messages,
                      *store, owner);
  ChatReplyOptions options = {.head = make_head("chatcmpl-", chat.model, model),
                              .store = store,
                              .owner = owner,
                              .num_choices = chat.generate.num_choices,
                              .includes_usage = chat.includes_usage,
                              .has_logprobs = chat.has_logprobs,
                              .has_progress = chat.generate.wants_progress};
  std::vector<engine::PreparedRequest> requests;
  requests.push_back(
      prepare(std::move(chat.generate), model.engine->text(), model.engine->limits()));
  const auto make = chat.is_streamed ? make_chat_stream : make_chat_answer;
  deliver(exchange, model.engine, std::move(requests),
          make(exchange, api.texts(*model.engine), std::move(options)));
}

void answer_completion(const Api& api, const ExchangePtr& exchange) {
  const text::JsonValue body = wire::parse_body(exchange->request());
  CompletionRequest completion = read_completion(body, exchange->request());
  const ServedModel& model = api.service().model(completion.model);
  const std::shared_ptr<const TokenTexts> texts = api.texts(*model.engine);
  check_constraint(*model.engine, completion.generate.front().content, completion.constraint_field);
  CompletionReplyOptions options = {.head = make_head("cmpl-", completion.model, model),
                                    .num_choices = completion.num_choices,
                                    .num_computed = completion.generate.front().num_choices,
                                    .includes_usage = completion.includes_usage,
                                    .has_logprobs = completion.has_logprobs,
                                    .echoes = {}};
  std::vector<engine::PreparedRequest> requests;
  for (engine::GenerateRequest& generate : completion.generate) {
    const engine::Prompt prompt = completion.echoes_prompt ? generate.prompt : engine::Prompt{};
    requests.push_back(prepare(std::move(generate), model.engine->text(), model.engine->limits()));
    options.echoes.push_back(completion.echoes_prompt ? echo_of(prompt, requests.back(), *texts)
                                                      : PromptEcho{});
  }
  const auto make = completion.is_streamed ? make_completion_stream : make_completion_answer;
  deliver(exchange, model.engine, std::move(requests), make(exchange, texts, std::move(options)));
}

class Routes {
 public:
  Routes(http::Router& router, ApiPtr api) : router_(&router), api_(std::move(api)) {}

  using Answer = std::function<void(const Api& api, const ExchangePtr& exchange)>;

  void add(const std::string& method,
           std::initializer_list<std::string_view> prefixes,
           std::string_view path,
           const Answer& answer) {
    for (const std::string_view prefix : prefixes) {
      router_->add(
          method, std::string(prefix).append(path),
          wire::answering_errors(
              [api = api_, answer](const ExchangePtr& exchange) { answer(*api, exchange); },
              wire::ErrorShape::OpenAi));
    }
  }

 private:
  http::Router* router_;
  ApiPtr api_;
};

void add_model_routes(Routes& routes) {
  routes.add("GET", {"/v1", ""}, "/models", [](const Api& api, const ExchangePtr& exchange) {
    exchange->respond(list_models(exchange->request(), api.service()));
  });
  routes.add("GET", {"/v1", ""}, "/models/{id}", [](const Api& api, const ExchangePtr& exchange) {
    const http::Request& request = exchange->request();
    exchange->respond(show_model(request, request.path_parameter, api.service()));
  });
  routes.add("POST", {"/v1", ""}, "/embeddings", [](const Api& /*api*/, const ExchangePtr&) {
    fail(ErrorCode::NotFound,
         "this server has no embeddings: its models write text and make no vectors");
  });
}

void add_token_routes(Routes& routes) {
  routes.add("POST", {"", "/v1"}, "/tokenize", [](const Api& api, const ExchangePtr& exchange) {
    const text::JsonValue body = wire::parse_body(exchange->request());
    exchange->respond(tokenize(body, exchange->request(), api.service()));
  });
  routes.add("POST", {"", "/v1"}, "/detokenize", [](const Api& api, const ExchangePtr& exchange) {
    exchange->respond(detokenize(wire::parse_body(exchange->request()), api.service()));
  });
  routes.add("GET", {"", "/v1"}, "/tokenizer_info",
             [](const Api& api, const ExchangePtr& exchange) {
               exchange->respond(tokenizer_info(api.service()));
             });
  routes.add("POST", {"/v1"}, "/render", [](const Api& api, const ExchangePtr& exchange) {
    const text::JsonValue body = wire::parse_body(exchange->request());
    exchange->respond(render(body, exchange->request(), api.service()));
  });
}

}  // namespace

void add_routes(http::Router& router, std::shared_ptr<wire::Service> service) {
  Routes routes(router, std::make_shared<const Api>(std::move(service)));
  routes.add("POST", {"/v1", "", "/beta"}, "/chat/completions", answer_chat);
  routes.add("POST", {"/v1", "", "/beta"}, "/completions", answer_completion);
  add_model_routes(routes);
  add_token_routes(routes);
  routes.add("GET", {""}, "/openapi.json", [](const Api& /*api*/, const ExchangePtr& exchange) {
    exchange->respond({.body = std::string(api_document())});
  });
}

}  // namespace fathom::openai
