#include "fathom/serve/openai/token_routes.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/model/text/json_field.h"
#include "fathom/serve/openai/chat_request.h"
#include "fathom/serve/openai/token_texts.h"
#include "fathom/serve/wire/json_writer.h"
#include "fathom/serve/wire/request_fields.h"

namespace fathom::openai {
namespace {

using text::ControlTokens;
using text::JsonField;
using text::TokenId;
using wire::JsonWriter;

void write_ids(JsonWriter& json, const std::vector<TokenId>& ids) {
  json.key("tokens").begin_array();
  for (const TokenId id : ids) {
    json.value(id);
  }
  json.end_array().field("count", ids.size());
}

std::vector<TokenId> render_ids(const text::JsonValue& body,
                                const http::Request& request,
                                const wire::Service& service,
                                const engine::Engine& engine) {
  engine::GenerateRequest generate = read_chat(body, request, service.options()).generate;
  return prepare(std::move(generate), engine.text(), engine.limits()).prompt_ids;
}

std::vector<TokenId> encode_text(const JsonField& body, const text::TextModel& model) {
  const JsonField prompt = body.member("prompt");
  const std::string text = (prompt.is_absent() ? body.member("content") : prompt).text();
  std::vector<TokenId> ids = model.tokenizer->encode(
      text, body.member("parse_special").boolean_or(true) ? ControlTokens::Recognised
                                                          : ControlTokens::Plain);
  const std::optional<TokenId> bos = model.raw_text_bos;
  if (body.member("add_special_tokens").boolean_or(true) && bos &&
      (ids.empty() || ids.front() != *bos)) {
    ids.insert(ids.begin(), *bos);
  }
  return ids;
}

const engine::Engine& engine_of(const JsonField& body, const wire::Service& service) {
  return *service.model(body.member("model").text_or("")).engine;
}

void write_token_name(JsonWriter& json,
                      std::string_view name,
                      const text::Tokenizer& tokenizer,
                      std::optional<TokenId> id) {
  if (id) {
    json.field(name, tokenizer.bytes_of(*id));
  } else {
    json.null_field(name);
  }
}

}  // namespace

http::Response tokenize(const text::JsonValue& value,
                        const http::Request& request,
                        const wire::Service& service) {
  const JsonField body(&value);
  const engine::Engine& engine = engine_of(body, service);
  const bool has_messages = !body.member("messages").is_absent();
  const std::vector<TokenId> ids = has_messages ? render_ids(value, request, service, engine)
                                                : encode_text(body, engine.text().model());
  JsonWriter json;
  json.begin_object();
  write_ids(json, ids);
  json.field("max_model_len", engine.limits().max_context).key("token_strs");
  if (body.member("return_token_strs").boolean_or(false)) {
    const TokenTexts texts(engine.text().model().tokenizer);
    json.begin_array();
    for (const TokenId id : ids) {
      json.value(texts.spelling(id));
    }
    json.end_array();
  } else {
    json.null();
  }
  json.end_object();
  return {.body = json.take()};
}

http::Response detokenize(const text::JsonValue& value, const wire::Service& service) {
  const JsonField body(&value);
  const text::Tokenizer& tokenizer = engine_of(body, service).text().tokenizer();
  const JsonField tokens = body.member("tokens");
  tokens.require(text::JsonValue::Kind::Array, "a list of token ids");
  const std::vector<TokenId> ids = wire::read_token_ids(tokens);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= tokenizer.num_ids()) {
      tokens.item(to_index(i))
          .refuse("a token id from 0 to " + std::to_string(tokenizer.num_ids() - 1));
    }
  }
  const std::string text = decode(tokenizer, ids);
  JsonWriter json;
  json.begin_object().field("prompt", text).field("content", text).end_object();
  return {.body = json.take()};
}

http::Response tokenizer_info(const wire::Service& service) {
  const engine::Engine& engine = *service.model("").engine;
  const text::Tokenizer& tokenizer = engine.text().tokenizer();
  JsonWriter json;
  json.begin_object().field("tokenizer_class", "PreTrainedTokenizerFast");
  // Where the file does not say: what begins a text and ends a reply.
  const std::optional<TokenId> bos = tokenizer.bos_id();
  write_token_name(json, "bos_token", tokenizer, bos ? bos : engine.text().model().raw_text_bos);
  std::optional<TokenId> eos = tokenizer.eos_id();
  if (!eos && !engine.text().model().stop_ids.empty()) {
    eos = engine.text().model().stop_ids.front();
  }
  write_token_name(json, "eos_token", tokenizer, eos);
  // Padding is never seen by a model: as in the checkpoint, the end token does.
  write_token_name(json, "pad_token", tokenizer, eos);
  json.null_field("chat_template").field("model_max_length", engine.limits().max_context);
  json.end_object();
  return {.body = json.take()};
}

http::Response render(const text::JsonValue& value,
                      const http::Request& request,
                      const wire::Service& service) {
  const engine::Engine& engine = engine_of(JsonField(&value), service);
  const std::vector<TokenId> ids = render_ids(value, request, service, engine);
  std::string prompt;
  for (const TokenId id : ids) {
    prompt += engine.text().tokenizer().bytes_of(id);
  }
  JsonWriter json;
  json.begin_object().field("prompt", prompt);
  write_ids(json, ids);
  json.end_object();
  return {.body = json.take()};
}

}  // namespace fathom::openai
