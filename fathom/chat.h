// Text in and out of a model: replies to conversations, continuations of texts.
//
// Both keep what they computed: the next prompt takes over whatever it begins with, so a turn, an
// undone turn or another try costs only what is different.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fathom/fathom.h"
#include "fathom/model/text/reply_parser.h"
#include "fathom/serve/engine/prepared_request.h"
#include "fathom/text_model.h"

namespace fathom {

struct ReplyOptions {
  sampling::SamplingOptions sampling;
  std::int64_t max_tokens = 0;    // of the reply; 0: as many as the context holds
  std::vector<std::string> stop;  // strings that end the reply; not matched in reasoning
  engine::ContentRule content;
};

// What a caller is told, and asked, while a reply is computed.
struct ReplyHooks {
  // Prompt tokens computed so far, of those that were not known yet.
  std::function<void(std::int64_t done, std::int64_t total)> on_prompt = {};
  std::function<void(const text::ReplyEvent& event)> on_event = {};
  std::function<void(const sampling::Picked& picked)> on_token = {};
  // Asked before every step; true ends the reply where it is.
  std::function<bool()> is_stopped = {};
};

struct ReplyStats {
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;  // of the prompt, known from before
  std::int64_t reply_tokens = 0;
  double prompt_seconds = 0;
  double reply_seconds = 0;
  // Tokens after the first per second, which the prompt gives; 0 for fewer than two.
  double reply_tokens_per_s() const {
    return reply_tokens < 2 ? 0 : static_cast<double>(reply_tokens - 1) / reply_seconds;
  }
};

struct ChatReply {
  text::Reply reply;
  ReplyStats stats;
  bool is_interrupted = false;          // is_stopped said so
  bool is_constraint_released = false;  // the vocabulary could not spell what the constraint wants
  std::vector<text::TokenId> tokens = {};  // as sampled, the end token included
};

class TextSession {
 public:
  // Throws InvalidArgument when the tokenizer has ids that the model has no logits for.
  TextSession(std::shared_ptr<Model> model, TextModel text_model);

  const Model& model() const { return *model_; }
  const TextModel& text_model() const { return text_.model(); }

  // The model's reply to a conversation. Throws Unsupported when the model has no form of
  // conversation that we know; InvalidArgument for a conversation that the form refuses, for a
  // prompt longer than the context, and for options out of range.
  ChatReply reply(const text::Conversation& conversation,
                  const text::RenderOptions& render,
                  const ReplyOptions& options,
                  const ReplyHooks& hooks = {});

  // What follows a text, as content of the reply.
  ChatReply complete(const std::string& text,
                     const ReplyOptions& options,
                     const ReplyHooks& hooks = {});

  // Compiles a rule, so that what is wrong with it is known before there is a prompt; a reply that
  // asks for it does not compile it again. Throws what compiling throws.
  void check(const engine::ContentRule& rule) const { static_cast<void>(text_.constraint(rule)); }

  std::int64_t num_tokens() const { return session_.num_tokens(); }
  std::int64_t cache_bytes() const { return session_.cache_bytes(); }

 private:
  engine::PreparedRequest prepare(engine::Prompt prompt, const ReplyOptions& options) const;
  ChatReply run(engine::Prompt prompt, const ReplyOptions& options, const ReplyHooks& hooks);
  // Brings the session to the prompt; the logits of the token after it. Nothing when stopped.
  std::optional<std::vector<float>> compute(const std::vector<text::TokenId>& prompt,
                                            const ReplyHooks& hooks,
                                            ReplyStats& stats);
  std::shared_ptr<Model> model_;
  engine::TextServices text_;
  Session session_;
};

}  // namespace fathom
