// Pieces of JSON that the answers of chats and completions share.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "fathom/serve/engine/event.h"
#include "fathom/serve/openai/token_texts.h"
#include "fathom/serve/wire/json_writer.h"
#include "fathom/serve/wire/service.h"

namespace fathom::openai {

// What is the same in all parts of an answer.
struct ReplyHead {
  std::string id;
  std::int64_t created_s = 0;
  std::string model;  // as the client called it
  std::string fingerprint;
};

// `prefix` of the id: "chatcmpl-", "cmpl-".
ReplyHead make_head(std::string_view prefix,
                    const std::string& asked_model,
                    const wire::ServedModel& model);

// The members that every answer and chunk begins with.
void write_head(wire::JsonWriter& json, const ReplyHead& head, std::string_view object);

void write_usage(wire::JsonWriter& json, const engine::Usage& usage);
engine::Usage operator+(const engine::Usage& a, const engine::Usage& b);

// Log-probabilities of one choice of a chat, in the order of its text. They go out with the text
// that their token began: the markup of tool calls, think tags and what a stop string cut off are
// no content and have none.
class ChatLogprobs {
 public:
  explicit ChatLogprobs(std::shared_ptr<const TokenTexts> texts) : texts_(std::move(texts)) {}

  void push(const engine::ReplyDelta& delta);
  // The same in two steps: a token, then what it added to the reply.
  void push_token(const engine::SampledToken& token);
  void show(const text::ReplyEvent& event);
  // `{"content": [...], "refusal": null, "reasoning_content": [...]}` of the tokens whose text has
  // come since the last time.
  std::string take();
  // Of content alone, with commas between and without brackets.
  std::string take_content() { return std::exchange(content_.ready, {}); }

 private:
  // Content or reasoning. Bytes are counted from the first that is no newline: those in front are
  // not shown.
  struct Track {
    struct Waiting {
      std::size_t begin;  // of the token's text
      std::string entry;
    };
    std::deque<Waiting> waiting;  // text is held back
    std::string ready;            // entries with commas between
    std::size_t num_sampled = 0;  // bytes
    std::size_t num_shown = 0;

    void show(std::string_view text);
  };
  std::string entry(const engine::SampledToken& token) const;

  std::shared_ptr<const TokenTexts> texts_;
  Track content_;
  Track reasoning_;
};

}  // namespace fathom::openai
