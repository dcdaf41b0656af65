#include "fathom/serve/anthropic/messages_writer.h"

#include <algorithm>
#include <exception>
#include <utility>
#include <variant>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/serve/wire/errors.h"
#include "fathom/serve/wire/ids.h"
#include "fathom/serve/wire/server_events.h"

namespace fathom::anthropic {
namespace {

using wire::JsonWriter;

// What was cached is not part of the input tokens (text specification 4.6).
void write_usage(JsonWriter& writer, const engine::Usage& usage) {
  writer.begin_object().field("input_tokens", usage.num_prompt - usage.num_cached);
  writer.field("cache_creation_input_tokens", 0);
  writer.field("cache_read_input_tokens", usage.num_cached);
  writer.field("output_tokens", usage.num_reply).end_object();
}

}  // namespace

MessagesWriter::MessagesWriter(http::ExchangePtr exchange,
                               const wire::Service& service,
                               MessagesRequest request,
                               Index num_prompt_tokens)
    : exchange_(std::move(exchange)),
      store_(service.store()),
      seal_(service.seal()),
      request_(std::move(request)),
      id_(wire::new_id("msg_")),
      num_prompt_tokens_(num_prompt_tokens),
      content_(
          request_, seal_, [this](std::string_view type, const MessageContent::Members& members) {
            tell(type, members);
          }) {}

void MessagesWriter::begin() {
  if (!request_.is_stream) {
    return;
  }
  // Watchdogs of clients count events, and comments are none.
  static constexpr std::string_view kPing = R"({"type":"ping"})";
  exchange_->begin_events({{"request-id", exchange_->request().request_id}},
                          [] { return wire::named_event("ping", kPing); });
  tell("message_start", [this](JsonWriter& writer) {
    writer.key("message");
    write_message(writer, {.num_prompt = num_prompt_tokens_}, /*has_ended=*/false);
  });
  exchange_->send(wire::named_event("ping", kPing));
}

void MessagesWriter::on_event(Index /*request_idx*/, engine::GenerateEvent&& event) {
  try {
    std::visit([this](auto& happened) { on(happened); }, event);
  } catch (const std::exception& error) {
    on(engine::RequestFailure{.code = ErrorCode::Internal, .message = error.what()});
  }
}

void MessagesWriter::on(engine::ChoiceEnd& end) {
  content_.end();
  reply_ = std::move(end.reply);
  num_reply_tokens_ = end.num_tokens;
  has_ended_ = true;
}

void MessagesWriter::on(const engine::RequestEnd& end) {
  content_.end();  // of a request that ended before its choice did
  store();
  if (!request_.is_stream) {
    JsonWriter writer;
    write_message(writer, end.usage, /*has_ended=*/true);
    exchange_->respond(
        {.body = writer.take(), .headers = {{"request-id", exchange_->request().request_id}}});
    return;
  }
  tell("message_delta", [&](JsonWriter& writer) {
    writer.key("delta").begin_object();
    write_stop(writer);
    writer.end_object().key("usage");
    write_usage(writer, end.usage);
  });
  tell("message_stop", [](JsonWriter&) {});
  exchange_->end_events();
}

void MessagesWriter::on(const engine::RequestFailure& failure) {
  const std::string& request_id = exchange_->request().request_id;
  if (!request_.is_stream) {
    exchange_->respond(wire::anthropic_error(Error(failure.code, failure.message), request_id));
    return;
  }
  exchange_->send(wire::named_event(
      "error", wire::anthropic_error_json(failure.code, failure.message, request_id)));
  exchange_->end_events();
}

void MessagesWriter::tell(std::string_view type, const MessageContent::Members& members) {
  if (!request_.is_stream) {
    return;
  }
  JsonWriter writer;
  writer.begin_object().field("type", type);
  members(writer);
  exchange_->send(wire::named_event(type, writer.end_object().take()));
}

void MessagesWriter::write_message(JsonWriter& writer,
                                   const engine::Usage& usage,
                                   bool has_ended) const {
  writer.begin_object().field("id", id_).field("type", "message").field("role", "assistant");
  writer.field("model", request_.model).key("content");
  if (has_ended) {
    content_.write(writer);
    write_stop(writer);
  } else {
    writer.begin_array().end_array().null_field("stop_reason").null_field("stop_sequence");
  }
  writer.key("usage");
  write_usage(writer, usage);
  writer.end_object();
}

void MessagesWriter::write_stop(JsonWriter& writer) const {
  writer.field("stop_reason", stop_reason()).key("stop_sequence");
  if (reply_.stop_string_idx) {
    writer.value(request_.generate.stop_strings[to_size(*reply_.stop_string_idx)]);
  } else {
    writer.null();
  }
}

std::string_view MessagesWriter::stop_reason() const {
  if (!has_ended_ || reply_.finish == text::ReplyFinish::Length) {
    return num_reply_tokens_ < request_.generate.max_tokens.value_or(0) && has_ended_
               ? "model_context_window_exceeded"
               : "max_tokens";
  }
  if (reply_.finish == text::ReplyFinish::ToolCalls) {
    return "tool_use";
  }
  return reply_.stop_string_idx ? "stop_sequence" : "end_turn";
}

// A thread whole; otherwise only what the next request may leave out: the thinking before calls.
void MessagesWriter::store() {
  text::Message reply = content_.record().message(reply_, content_.call_ids());
  std::vector<std::string> ids;
  for (const text::ToolCall& call : reply.tool_calls) {
    ids.push_back(call.id);
  }
  wire::StoredConversation stored = {.render = request_.render,
                                     .is_retrievable = request_.is_thread};
  if (request_.is_thread) {
    ids.push_back(id_);
    stored.conversation = std::move(request_.history);
  }
  wire::append_reply(stored.conversation.messages, std::move(reply));
  if (!ids.empty()) {
    store_->put(request_.owner, ids, std::move(stored));
  }
}

}  // namespace fathom::anthropic
