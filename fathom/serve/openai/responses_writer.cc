#include "fathom/serve/openai/responses_writer.h"

#include <exception>
#include <utility>
#include <variant>

#include "fathom/base/core/error.h"
#include "fathom/serve/wire/errors.h"
#include "fathom/serve/wire/ids.h"
#include "fathom/serve/wire/server_events.h"

namespace fathom::openai {
namespace {

using wire::JsonWriter;

// Codes of `response.error`: clients compact, wait or give up by them.
std::string_view failure_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::ContextTooLong:
      return "context_length_exceeded";
    case ErrorCode::Overloaded:
      return "rate_limit_exceeded";
    case ErrorCode::InvalidArgument:
    case ErrorCode::Unsupported:
      return "invalid_prompt";
    default:
      return "server_error";
  }
}

}  // namespace

ResponsesWriter::ResponsesWriter(http::ExchangePtr exchange,
                                 const wire::Service& service,
                                 ResponsesRequest request,
                                 const std::shared_ptr<const TokenTexts>& texts,
                                 std::int64_t created_s)
    : exchange_(std::move(exchange)),
      store_(service.store()),
      seal_(service.seal()),
      request_(std::move(request)),
      id_(wire::new_id("resp_")),
      created_s_(created_s),
      items_(request_,
             seal_,
             texts,
             [this](std::string_view type, const ResponsesItems::Members& members) {
               if (request_.is_stream) {
                 exchange_->send(event(type, members));
               }
             }) {}

void ResponsesWriter::begin() {
  if (!request_.is_stream) {
    return;
  }
  // The exchange keeps the function, and this keeps the exchange.
  exchange_->begin_events({}, [weak = weak_from_this()] {
    const std::shared_ptr<ResponsesWriter> writer = weak.lock();
    return writer == nullptr
               ? std::string()
               : writer->event_with_response("response.in_progress", writer->response_begun());
  });
  const std::string response = response_begun();
  exchange_->send(event_with_response("response.created", response));
  exchange_->send(event_with_response("response.in_progress", response));
}

void ResponsesWriter::on_event(Index /*request_idx*/, engine::GenerateEvent&& event) {
  try {
    std::visit([this](auto& happened) { on(happened); }, event);
  } catch (const std::exception& error) {
    on(engine::RequestFailure{.code = ErrorCode::Internal, .message = error.what()});
  }
}

void ResponsesWriter::on(engine::ChoiceEnd& end) {
  is_cut_ = end.reply.finish == text::ReplyFinish::Length;
  reply_ = std::move(end.reply);
  items_.end(is_cut_);
}

void ResponsesWriter::on(const engine::RequestEnd& end) {
  items_.end(is_cut_);  // of a request that ended before its choice did
  const std::string document =
      response_json(is_cut_ ? "incomplete" : "completed", end.usage, nullptr);
  store(document);
  if (!request_.is_stream) {
    exchange_->respond({.body = document});
    return;
  }
  exchange_->send(
      event_with_response(is_cut_ ? "response.incomplete" : "response.completed", document));
  exchange_->end_events();
}

void ResponsesWriter::on(const engine::RequestFailure& failure) {
  if (!request_.is_stream) {
    exchange_->respond(wire::openai_error(Error(failure.code, failure.message)));
    return;
  }
  exchange_->send(
      event_with_response("response.failed", response_json("failed", std::nullopt, &failure)));
  exchange_->end_events();
}

std::string ResponsesWriter::event(std::string_view type, const ResponsesItems::Members& members) {
  JsonWriter writer;
  writer.begin_object().field("type", type);
  members(writer);
  writer.field("sequence_number", sequence_number_++).end_object();
  return wire::named_event(type, writer.take());
}

std::string ResponsesWriter::event_with_response(std::string_view type,
                                                 const std::string& response) {
  return event(type, [&](JsonWriter& writer) { writer.raw_field("response", response); });
}

std::string ResponsesWriter::response_begun() const {
  return response_json("in_progress", std::nullopt, nullptr);
}

std::string ResponsesWriter::response_json(std::string_view status,
                                           const std::optional<engine::Usage>& usage,
                                           const engine::RequestFailure* failure) const {
  JsonWriter writer;
  writer.begin_object().field("id", id_).field("object", "response");
  writer.field("created_at", created_s_).field("status", status).field("background", false);
  writer.key("error");
  if (failure == nullptr) {
    writer.null();
  } else {
    writer.begin_object().field("code", failure_code(failure->code));
    writer.field("message", failure->message).end_object();
  }
  writer.key("incomplete_details");
  if (status == "incomplete") {
    writer.begin_object().field("reason", "max_output_tokens").end_object();
  } else {
    writer.null();
  }
  writer.field("model", request_.model).key("output");
  if (status == "in_progress") {
    writer.raw("[]");
  } else {
    items_.write(writer);
  }
  writer.key("usage");
  if (usage) {
    write_usage(writer, *usage);
  } else {
    writer.null();
  }
  for (const auto& [name, json] : request_.echo) {
    writer.raw_field(name, json);
  }
  return writer.end_object().take();
}

void ResponsesWriter::write_usage(JsonWriter& writer, const engine::Usage& usage) const {
  writer.begin_object().field("input_tokens", usage.num_prompt).key("input_tokens_details");
  writer.begin_object().field("cached_tokens", usage.num_cached).end_object();
  writer.field("output_tokens", usage.num_reply).key("output_tokens_details");
  writer.begin_object().field("reasoning_tokens", usage.num_reasoning).end_object();
  writer.field("total_tokens", usage.num_prompt + usage.num_reply).end_object();
}

// What clients may go on from; of what they do not want stored, only what their next request leaves
// out: the reasoning before calls.
void ResponsesWriter::store(const std::string& document) {
  text::Message reply = items_.record().message(reply_, items_.call_ids());
  wire::StoredConversation stored;
  std::vector<std::string> ids;
  for (const text::ToolCall& call : reply.tool_calls) {
    ids.push_back(call.id);
  }
  stored.is_retrievable = request_.is_stored;
  if (request_.is_stored) {
    ids.push_back(id_);
    for (std::string& id : items_.item_ids()) {
      ids.push_back(std::move(id));
    }
    stored.document = document;
    stored.conversation = std::move(request_.history);
  }
  wire::append_reply(stored.conversation.messages, std::move(reply));
  if (!ids.empty()) {
    store_->put(request_.owner, ids, std::move(stored));
  }
}

}  // namespace fathom::openai
