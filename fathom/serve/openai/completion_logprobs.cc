#include "fathom/serve/openai/completion_logprobs.h"

#include <algorithm>
#include <utility>

#include "fathom/serve/wire/json_writer.h"

namespace fathom::openai {
namespace {

// Characters that begin in these bytes.
Index num_characters(std::string_view bytes) {
  return std::count_if(bytes.begin(), bytes.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

void write_top(wire::JsonWriter& json,
               const TokenTexts& texts,
               text::TokenId id,
               const sampling::TokenLogprobs& logprobs) {
  json.begin_object();
  bool has_token = false;
  for (const sampling::TokenLogprob& top : logprobs.top) {
    json.field(texts.spelling(top.id), top.logprob);
    has_token = has_token || top.id == id;
  }
  if (!has_token) {
    json.field(texts.spelling(id), logprobs.logprob);
  }
  json.end_object();
}

}  // namespace

void CompletionLogprobs::push(text::TokenId id, const sampling::TokenLogprobs* logprobs) {
  entries_.push_back({.id = id, .offset = offset_, .logprobs = {}});
  if (logprobs != nullptr) {
    entries_.back().logprobs = *logprobs;
  }
  offset_ += num_characters(texts_->bytes(id));
}

std::string CompletionLogprobs::take() {
  const std::vector<Entry> entries = std::exchange(entries_, {});
  wire::JsonWriter json;
  json.begin_object().key("tokens").begin_array();
  for (const Entry& entry : entries) {
    json.value(texts_->spelling(entry.id));
  }
  json.end_array().key("token_logprobs").begin_array();
  for (const Entry& entry : entries) {
    entry.logprobs ? json.value(entry.logprobs->logprob) : json.null();
  }
  json.end_array().key("top_logprobs").begin_array();
  for (const Entry& entry : entries) {
    if (entry.logprobs) {
      write_top(json, *texts_, entry.id, *entry.logprobs);
    } else {
      json.null();
    }
  }
  json.end_array().key("text_offset").begin_array();
  for (const Entry& entry : entries) {
    json.value(entry.offset);
  }
  json.end_array().end_object();
  return json.take();
}

}  // namespace fathom::openai
