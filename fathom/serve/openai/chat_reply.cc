#include "fathom/serve/openai/chat_reply.h"

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/serve/wire/errors.h"
#include "fathom/serve/wire/ids.h"
#include "fathom/serve/wire/server_events.h"
#include "fathom/serve/wire/turn_memory.h"

namespace fathom::openai {
namespace {

using engine::ChoiceEnd;
using engine::GenerateEvent;
using engine::ReplyDelta;
using engine::RequestEnd;
using engine::RequestFailure;
using wire::JsonWriter;
using EventKind = text::ReplyEvent::Kind;

constexpr std::string_view kCallPrefix = "call_";

// The calls of one choice: their ids, and what the model wrote to make them.
class ChoiceCalls {
 public:
  void add(const ReplyDelta& delta) {
    if (delta.token) {
      record_.add(*delta.token);
    }
  }

  const std::string& new_id() {
    ids_.push_back(wire::new_id(kCallPrefix));
    return ids_.back();
  }

  // The next request brings the calls back without what clients are not shown.
  void remember(const ChatReplyOptions& options, const text::Reply& reply) const {
    if (ids_.empty() || options.store == nullptr) {
      return;
    }
    wire::StoredConversation stored;
    stored.is_retrievable = false;
    stored.conversation.messages.push_back(record_.message(reply, ids_));
    options.store->put(options.owner, ids_, std::move(stored));
  }

 private:
  wire::ReplyRecord record_;
  std::vector<std::string> ids_;
};

void write_message(JsonWriter& json, const text::Reply& reply, ChoiceCalls& calls) {
  json.key("message").begin_object().field("role", "assistant");
  if (reply.content.empty() && !reply.calls.empty()) {
    json.null_field("content");
  } else {
    json.field("content", reply.content);
  }
  json.null_field("refusal");
  if (!reply.reasoning.empty()) {
    json.field("reasoning_content", reply.reasoning);
  }
  if (!reply.calls.empty()) {
    json.key("tool_calls").begin_array();
    for (const text::ToolCall& call : reply.calls) {
      json.begin_object().field("id", calls.new_id()).field("type", "function");
      json.key("function").begin_object();
      json.field("name", call.name).field("arguments", call.arguments);
      json.end_object().end_object();
    }
    json.end_array();
  }
  json.end_object();
}

class ChatAnswer final : public wire::ReplyWriter {
 public:
  ChatAnswer(http::ExchangePtr exchange,
             std::shared_ptr<const TokenTexts> texts,
             ChatReplyOptions options)
      : exchange_(std::move(exchange)),
        options_(std::move(options)),
        logprobs_(to_size(options_.num_choices), ChatLogprobs(std::move(texts))),
        calls_(to_size(options_.num_choices)),
        ends_(to_size(options_.num_choices)) {}

  void begin() override {}

  void on_event(Index /*request_idx*/, GenerateEvent&& event) override {
    if (const auto* const delta = std::get_if<ReplyDelta>(&event)) {
      calls_[to_size(delta->choice_idx)].add(*delta);
      if (options_.has_logprobs) {
        logprobs_[to_size(delta->choice_idx)].push(*delta);
      }
    } else if (auto* const end = std::get_if<ChoiceEnd>(&event)) {
      ends_[to_size(end->choice_idx)] = std::move(*end);
    } else if (const auto* const last = std::get_if<RequestEnd>(&event)) {
      exchange_->respond({.body = body(last->usage)});
    } else if (const auto* const failure = std::get_if<RequestFailure>(&event)) {
      exchange_->respond(wire::openai_error(Error(failure->code, failure->message)));
    }
  }

 private:
  std::string body(const engine::Usage& usage) {
    JsonWriter json;
    json.begin_object();
    write_head(json, options_.head, "chat.completion");
    json.key("choices").begin_array();
    for (Index i = 0; i < options_.num_choices; ++i) {
      write_choice(json, i);
    }
    json.end_array().key("usage");
    write_usage(json, usage);
    json.end_object();
    return json.take();
  }

  void write_choice(JsonWriter& json, Index choice_idx) {
    const ChoiceEnd& end = ends_[to_size(choice_idx)];
    json.begin_object().field("index", choice_idx);
    ChoiceCalls& calls = calls_[to_size(choice_idx)];
    write_message(json, end.reply, calls);
    calls.remember(options_, end.reply);
    if (options_.has_logprobs) {
      json.raw_field("logprobs", logprobs_[to_size(choice_idx)].take());
    } else {
      json.null_field("logprobs");
    }
    json.field("finish_reason", to_string(end.reply.finish));
    if (end.is_constraint_released) {
      json.field("constraint_released", true);
    }
    json.end_object();
  }

  const http::ExchangePtr exchange_;
  const ChatReplyOptions options_;
  std::vector<ChatLogprobs> logprobs_;
  std::vector<ChoiceCalls> calls_;
  std::vector<ChoiceEnd> ends_;
};

class ChatStream final : public wire::ReplyWriter {
 public:
  ChatStream(http::ExchangePtr exchange,
             std::shared_ptr<const TokenTexts> texts,
             ChatReplyOptions options)
      : exchange_(std::move(exchange)),
        options_(std::move(options)),
        logprobs_(to_size(options_.num_choices), ChatLogprobs(std::move(texts))),
        calls_(to_size(options_.num_choices)) {}

  void begin() override {
    exchange_->begin_events({}, [] { return wire::comment_event("keep-alive"); });
    std::string events;
    for (Index i = 0; i < options_.num_choices; ++i) {
      events += chunk(i, R"({"role":"assistant","content":""})");
    }
    exchange_->send(std::move(events));
  }

  void on_event(Index /*request_idx*/, GenerateEvent&& event) override {
    if (const auto* const delta = std::get_if<ReplyDelta>(&event)) {
      send_delta(*delta);
    } else if (const auto* const end = std::get_if<ChoiceEnd>(&event)) {
      calls_[to_size(end->choice_idx)].remember(options_, end->reply);
      exchange_->send(final_chunk(*end));
    } else if (const auto* const progress = std::get_if<engine::PromptProgress>(&event)) {
      if (options_.has_progress) {
        exchange_->send(progress_chunk(*progress));
      }
    } else if (const auto* const last = std::get_if<RequestEnd>(&event)) {
      exchange_->send((options_.includes_usage ? usage_chunk(last->usage) : "") +
                      wire::data_event("[DONE]"));
      exchange_->end_events();
    } else if (const auto* const failure = std::get_if<RequestFailure>(&event)) {
      exchange_->send(wire::data_event(wire::openai_error_json(failure->code, failure->message)));
      exchange_->end_events();
    }
  }

 private:
  void send_delta(const ReplyDelta& delta) {
    ChoiceCalls& calls = calls_[to_size(delta.choice_idx)];
    calls.add(delta);
    if (options_.has_logprobs) {
      logprobs_[to_size(delta.choice_idx)].push(delta);
    }
    std::string events;
    for (const text::ReplyEvent& event : delta.events) {
      const std::string json = delta_json(event, calls);
      if (!json.empty()) {
        events += chunk(delta.choice_idx, json, event.kind);
      }
    }
    if (!events.empty()) {
      exchange_->send(std::move(events));
    }
  }

  // Empty for what clients are not told.
  static std::string delta_json(const text::ReplyEvent& event, ChoiceCalls& calls) {
    JsonWriter json;
    json.begin_object();
    switch (event.kind) {
      case EventKind::Reasoning:
        json.field("reasoning_content", event.text);
        break;
      case EventKind::Content:
        json.field("content", event.text);
        break;
      case EventKind::CallBegin:
        json.key("tool_calls").begin_array().begin_object().field("index", event.call_idx);
        json.field("id", calls.new_id()).field("type", "function");
        json.key("function").begin_object().field("name", event.text).field("arguments", "");
        json.end_object().end_object().end_array();
        break;
      case EventKind::CallArguments:
        json.key("tool_calls").begin_array().begin_object().field("index", event.call_idx);
        json.key("function").begin_object().field("arguments", event.text);
        json.end_object().end_object().end_array();
        break;
      case EventKind::CallEnd:
        return {};
    }
    json.end_object();
    return json.take();
  }

  void write_chunk_begin(JsonWriter& json) const {
    json.begin_object();
    write_head(json, options_.head, "chat.completion.chunk");
    json.key("choices").begin_array();
  }

  std::string write_chunk_end(JsonWriter& json) const {
    json.end_array();
    if (options_.includes_usage) {
      json.null_field("usage");
    }
    json.end_object();
    return wire::data_event(json.take());
  }

  std::string chunk(Index choice_idx,
                    std::string_view delta,
                    std::optional<EventKind> kind = std::nullopt) {
    JsonWriter json;
    write_chunk_begin(json);
    json.begin_object().field("index", choice_idx).raw_field("delta", delta);
    // Of all that a token made, the log-probabilities go with the first.
    if (options_.has_logprobs && (kind == EventKind::Reasoning || kind == EventKind::Content)) {
      json.raw_field("logprobs", logprobs_[to_size(choice_idx)].take());
    } else {
      json.null_field("logprobs");
    }
    json.null_field("finish_reason").end_object();
    return write_chunk_end(json);
  }

  std::string final_chunk(const ChoiceEnd& end) const {
    JsonWriter json;
    write_chunk_begin(json);
    json.begin_object().field("index", end.choice_idx).raw_field("delta", "{}");
    json.null_field("logprobs").field("finish_reason", to_string(end.reply.finish));
    if (end.is_constraint_released) {
      json.field("constraint_released", true);
    }
    json.end_object();
    return write_chunk_end(json);
  }

  std::string progress_chunk(const engine::PromptProgress& progress) const {
    JsonWriter json;
    write_chunk_begin(json);
    json.begin_object().field("index", 0).raw_field("delta", "{}");
    json.null_field("logprobs").null_field("finish_reason").end_object().end_array();
    const auto elapsed = std::chrono::steady_clock::now() - start_;
    json.key("prompt_progress").begin_object().field("total", progress.num_total);
    json.field("cache", progress.num_cached);
    json.field("processed", progress.num_cached + progress.num_computed);
    json.field("time_ms", std::chrono::duration_cast<std::chrono::milliseconds>(elapsed).count());
    json.end_object();
    if (options_.includes_usage) {
      json.null_field("usage");
    }
    json.end_object();
    return wire::data_event(json.take());
  }

  std::string usage_chunk(const engine::Usage& usage) const {
    JsonWriter json;
    write_chunk_begin(json);
    json.end_array().key("usage");
    write_usage(json, usage);
    json.end_object();
    return wire::data_event(json.take());
  }

  const http::ExchangePtr exchange_;
  const ChatReplyOptions options_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::vector<ChatLogprobs> logprobs_;
  std::vector<ChoiceCalls> calls_;
};

}  // namespace

std::shared_ptr<wire::ReplyWriter> make_chat_answer(http::ExchangePtr exchange,
                                                    std::shared_ptr<const TokenTexts> texts,
                                                    ChatReplyOptions options) {
  return std::make_shared<ChatAnswer>(std::move(exchange), std::move(texts), std::move(options));
}

std::shared_ptr<wire::ReplyWriter> make_chat_stream(http::ExchangePtr exchange,
                                                    std::shared_ptr<const TokenTexts> texts,
                                                    ChatReplyOptions options) {
  return std::make_shared<ChatStream>(std::move(exchange), std::move(texts), std::move(options));
}

}  // namespace fathom::openai
