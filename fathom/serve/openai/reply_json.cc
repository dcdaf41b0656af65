#include "fathom/serve/openai/reply_json.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "fathom/serve/wire/ids.h"

namespace fathom::openai {
namespace {

using wire::JsonWriter;
using EventKind = text::ReplyEvent::Kind;

void write_token(JsonWriter& json, const TokenTexts& texts, text::TokenId id, double logprob) {
  json.field("token", texts.spelling(id)).field("logprob", logprob).key("bytes").begin_array();
  for (const char c : texts.bytes(id)) {
    json.value(static_cast<int>(static_cast<unsigned char>(c)));
  }
  json.end_array();
}

}  // namespace

ReplyHead make_head(std::string_view prefix,
                    const std::string& asked_model,
                    const wire::ServedModel& model) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {.id = wire::new_id(prefix),
          .created_s = std::chrono::duration_cast<std::chrono::seconds>(now).count(),
          .model = asked_model.empty() ? model.name : asked_model,
          .fingerprint = model.engine->limits().fingerprint};
}

void write_head(JsonWriter& json, const ReplyHead& head, std::string_view object) {
  json.field("id", head.id).field("object", object).field("created", head.created_s);
  json.field("model", head.model).field("system_fingerprint", head.fingerprint);
}

void write_usage(JsonWriter& json, const engine::Usage& usage) {
  json.begin_object();
  json.field("prompt_tokens", usage.num_prompt).field("completion_tokens", usage.num_reply);
  json.field("total_tokens", usage.num_prompt + usage.num_reply);
  json.key("prompt_tokens_details").begin_object();
  json.field("cached_tokens", usage.num_cached).end_object();
  json.key("completion_tokens_details").begin_object();
  json.field("reasoning_tokens", usage.num_reasoning).end_object();
  json.field("prompt_cache_hit_tokens", usage.num_cached);
  json.field("prompt_cache_miss_tokens", usage.num_prompt - usage.num_cached);
  json.end_object();
}

engine::Usage operator+(const engine::Usage& a, const engine::Usage& b) {
  return {.num_prompt = a.num_prompt + b.num_prompt,
          .num_cached = a.num_cached + b.num_cached,
          .num_reply = a.num_reply + b.num_reply,
          .num_reasoning = a.num_reasoning + b.num_reasoning};
}

void ChatLogprobs::Track::show(std::string_view text) {
  num_shown += text.size();
  while (!waiting.empty() && waiting.front().begin < num_shown) {
    ready += ready.empty() ? "" : ",";
    ready += waiting.front().entry;
    waiting.pop_front();
  }
}

std::string ChatLogprobs::entry(const engine::SampledToken& token) const {
  JsonWriter json;
  json.begin_object();
  write_token(json, *texts_, token.id, token.logprobs.logprob);
  json.key("top_logprobs").begin_array();
  for (const sampling::TokenLogprob& top : token.logprobs.top) {
    json.begin_object();
    write_token(json, *texts_, top.id, top.logprob);
    json.end_object();
  }
  json.end_array().end_object();
  return json.take();
}

void ChatLogprobs::push_token(const engine::SampledToken& token) {
  // An end token has no bytes; the text of a control token is markup.
  if (texts_->tokenizer().is_control(token.id)) {
    return;
  }
  Track& track = token.is_reasoning ? reasoning_ : content_;
  std::string_view bytes = token.bytes;
  if (track.num_sampled == 0) {
    bytes.remove_prefix(std::min(bytes.find_first_not_of('\n'), bytes.size()));
  }
  if (!bytes.empty()) {
    track.waiting.push_back({.begin = track.num_sampled, .entry = entry(token)});
    track.num_sampled += bytes.size();
  }
}

void ChatLogprobs::push(const engine::ReplyDelta& delta) {
  if (delta.token) {
    push_token(*delta.token);
  }
  for (const text::ReplyEvent& event : delta.events) {
    show(event);
  }
}

void ChatLogprobs::show(const text::ReplyEvent& event) {
  if (event.kind == EventKind::Reasoning) {
    reasoning_.show(event.text);
  } else if (event.kind == EventKind::Content) {
    content_.show(event.text);
  } else {
    content_.waiting.clear();  // it is of a call
  }
}

std::string ChatLogprobs::take() {
  JsonWriter json;
  json.begin_object().key("content").begin_array();
  const auto write = [&json](std::string& ready) {
    if (!ready.empty()) {
      json.raw(std::exchange(ready, {}));
    }
  };
  write(content_.ready);
  json.end_array().null_field("refusal").key("reasoning_content").begin_array();
  write(reasoning_.ready);
  json.end_array().end_object();
  return json.take();
}

}  // namespace fathom::openai
