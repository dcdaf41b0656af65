#include "fathom/serve/openai/model_routes.h"

#include <algorithm>
#include <array>
#include <ctime>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/serve/wire/errors.h"
#include "fathom/serve/wire/json_writer.h"

namespace fathom::openai {
namespace {

using wire::JsonWriter;
using wire::ServedModel;

bool is_anthropic(const http::Request& request) {
  return !request.header("anthropic-version").empty();
}

std::string rfc3339(std::int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  if (gmtime_r(&time, &parts) == nullptr) {
    return "1970-01-01T00:00:00Z";
  }
  std::array<char, 32> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return {text.data(), length};
}

void write_model(JsonWriter& json, const ServedModel& model, bool anthropic) {
  json.begin_object();
  const Index max_context = model.engine->limits().max_context;
  if (anthropic) {
    json.field("type", "model").field("id", model.name).field("display_name", model.name);
    json.field("created_at", rfc3339(model.created_s)).field("max_input_tokens", max_context);
  } else {
    json.field("id", model.name).field("object", "model").field("created", model.created_s);
    json.field("owned_by", "fathom");
    json.field("max_model_len", max_context).field("context_length", max_context);
  }
  json.end_object();
}

}  // namespace

http::Response list_models(const http::Request& request, const wire::Service& service) {
  static_cast<void>(service.model(""));  // Unavailable while they are loaded
  const bool anthropic = is_anthropic(request);
  JsonWriter json;
  json.begin_object();
  if (!anthropic) {
    json.field("object", "list");
  }
  json.key("data").begin_array();
  for (const ServedModel& model : service.models()) {
    write_model(json, model, anthropic);
  }
  json.end_array();
  if (anthropic) {
    json.field("has_more", false).field("first_id", service.models().front().name);
    json.field("last_id", service.models().back().name);
  }
  json.end_object();
  return {.body = json.take()};
}

http::Response show_model(const http::Request& request,
                          std::string_view name,
                          const wire::Service& service) {
  static_cast<void>(service.model(""));  // Unavailable while they are loaded
  const auto& models = service.models();
  const auto found = std::find_if(models.begin(), models.end(),
                                  [&](const ServedModel& model) { return model.name == name; });
  if (found == models.end()) {
    const Error error(
        ErrorCode::NotFound,
        "model: expected one of those that GET /v1/models lists, found " + formats::quote(name));
    return is_anthropic(request) ? wire::anthropic_error(error, request.request_id)
                                 : wire::openai_error(error);
  }
  JsonWriter json;
  write_model(json, *found, is_anthropic(request));
  return {.body = json.take()};
}

}  // namespace fathom::openai
