#include "fathom/serve/openai/completion_reply.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <variant>

#include "fathom/base/core/error.h"
#include "fathom/serve/openai/completion_logprobs.h"
#include "fathom/serve/wire/errors.h"
#include "fathom/serve/wire/server_events.h"

namespace fathom::openai {
namespace {

using engine::ChoiceEnd;
using engine::GenerateEvent;
using engine::PromptScores;
using engine::ReplyDelta;
using engine::RequestEnd;
using engine::RequestFailure;
using wire::JsonWriter;

// Scores of a prompt's tokens as they come in, in any number of parts.
class EchoScores {
 public:
  void add(PromptScores&& scores) {
    if (first_ < 0) {
      first_ = scores.first;
    }
    std::move(scores.tokens.begin(), scores.tokens.end(), std::back_inserter(tokens_));
  }
  // Of a token of the prompt; null: it has none.
  const sampling::TokenLogprobs* find(Index idx) const {
    const Index i = idx - first_;
    return first_ < 0 || i < 0 || i >= to_index(tokens_.size()) ? nullptr : &tokens_[to_size(i)];
  }

 private:
  Index first_ = -1;
  std::vector<sampling::TokenLogprobs> tokens_;
};

// The first has none, also behind a BOS: clients leave it out, and count on null.
void push_echo(const PromptEcho& echo, const EchoScores& scores, CompletionLogprobs& logprobs) {
  for (Index i = 0; i < to_index(echo.ids.size()); ++i) {
    logprobs.push(echo.ids[to_size(i)], i == 0 ? nullptr : scores.find(i + echo.num_hidden));
  }
}

void write_choice(JsonWriter& json,
                  Index choice_idx,
                  std::string_view text,
                  std::string_view logprobs,
                  std::string_view finish) {
  json.begin_object().field("index", choice_idx).field("text", text);
  json.raw_field("logprobs", logprobs.empty() ? "null" : logprobs);
  if (finish.empty()) {
    json.null_field("finish_reason");
  } else {
    json.field("finish_reason", finish);
  }
  json.end_object();
}

std::string text_of(const ReplyDelta& delta) {
  std::string text;
  for (const text::ReplyEvent& event : delta.events) {
    text += event.text;
  }
  return text;
}

// What a prompt that is only scored ends with.
ChoiceEnd end_without_tokens() {
  ChoiceEnd end;
  end.reply.finish = text::ReplyFinish::Length;
  return end;
}

class CompletionAnswer final : public wire::ReplyWriter {
 public:
  CompletionAnswer(http::ExchangePtr exchange,
                   std::shared_ptr<const TokenTexts> texts,
                   CompletionReplyOptions options)
      : exchange_(std::move(exchange)),
        texts_(std::move(texts)),
        options_(std::move(options)),
        prompts_(options_.echoes.size()),
        num_open_(to_index(options_.echoes.size())) {
    for (PromptState& prompt : prompts_) {
      prompt.choices.resize(to_size(options_.num_computed));
    }
  }

  void begin() override {}

  void on_event(Index request_idx, GenerateEvent&& event) override {
    if (is_answered_) {
      return;
    }
    PromptState& prompt = prompts_[to_size(request_idx)];
    if (auto* const scores = std::get_if<PromptScores>(&event)) {
      prompt.scores.add(std::move(*scores));
    } else if (auto* const delta = std::get_if<ReplyDelta>(&event)) {
      if (delta->token) {
        Choice& choice = prompt.choices[to_size(delta->choice_idx)];
        choice.sum_logprobs += delta->token->logprobs.logprob;
        choice.tokens.push_back({delta->token->id, std::move(delta->token->logprobs)});
      }
    } else if (auto* const end = std::get_if<ChoiceEnd>(&event)) {
      prompt.choices[to_size(end->choice_idx)].end = std::move(*end);
    } else if (const auto* const last = std::get_if<RequestEnd>(&event)) {
      usage_ = usage_ + last->usage;
      if (--num_open_ == 0) {
        exchange_->respond({.body = body()});
        is_answered_ = true;
      }
    } else if (const auto* const failure = std::get_if<RequestFailure>(&event)) {
      exchange_->respond(wire::openai_error(Error(failure->code, failure->message)));
      is_answered_ = true;
    }
  }

 private:
  struct Choice {
    double sum_logprobs = 0;
    std::vector<std::pair<text::TokenId, sampling::TokenLogprobs>> tokens;
    ChoiceEnd end = end_without_tokens();

    // Of a token on average: longer replies are no worse.
    double score() const {
      return tokens.empty() ? 0 : sum_logprobs / static_cast<double>(tokens.size());
    }
  };
  struct PromptState {
    EchoScores scores;
    std::vector<Choice> choices;  // [num_computed]
  };

  // The best choices, of equals the earlier; without best_of all of them as they are.
  std::vector<Index> best_of(const PromptState& prompt) const {
    std::vector<Index> order(prompt.choices.size());
    std::iota(order.begin(), order.end(), Index{0});
    if (options_.num_choices < options_.num_computed) {
      std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
        return prompt.choices[to_size(a)].score() > prompt.choices[to_size(b)].score();
      });
      order.resize(to_size(options_.num_choices));
    }
    return order;
  }

  std::string logprobs_of(const PromptState& prompt, const PromptEcho& echo, const Choice& choice) {
    if (!options_.has_logprobs) {
      return {};
    }
    CompletionLogprobs logprobs(texts_);
    push_echo(echo, prompt.scores, logprobs);
    for (const auto& [id, token] : choice.tokens) {
      logprobs.push(id, &token);
    }
    return logprobs.take();
  }

  std::string body() {
    JsonWriter json;
    json.begin_object();
    write_head(json, options_.head, "text_completion");
    json.key("choices").begin_array();
    Index index = 0;
    for (std::size_t i = 0; i < prompts_.size(); ++i) {
      const PromptEcho& echo = options_.echoes[i];
      for (const Index choice_idx : best_of(prompts_[i])) {
        const Choice& choice = prompts_[i].choices[to_size(choice_idx)];
        write_choice(json, index++, echo.text + choice.end.reply.content,
                     logprobs_of(prompts_[i], echo, choice), to_string(choice.end.reply.finish));
      }
    }
    json.end_array().key("usage");
    write_usage(json, usage_);
    json.end_object();
    return json.take();
  }

  const http::ExchangePtr exchange_;
  const std::shared_ptr<const TokenTexts> texts_;
  const CompletionReplyOptions options_;
  std::vector<PromptState> prompts_;
  engine::Usage usage_;
  Index num_open_;
  bool is_answered_ = false;
};

class CompletionStream final : public wire::ReplyWriter {
 public:
  CompletionStream(http::ExchangePtr exchange,
                   const std::shared_ptr<const TokenTexts>& texts,
                   CompletionReplyOptions options)
      : exchange_(std::move(exchange)),
        options_(std::move(options)),
        prompts_(options_.echoes.size()),
        num_open_(to_index(options_.echoes.size())) {
    for (PromptState& prompt : prompts_) {
      prompt.choices.assign(to_size(options_.num_choices), Choice(texts));
    }
  }

  void begin() override {
    exchange_->begin_events({}, [] { return wire::comment_event("keep-alive"); });
    if (options_.has_logprobs) {
      return;  // the prompt goes out with its log-probabilities, which are not computed yet
    }
    for (Index i = 0; i < to_index(prompts_.size()); ++i) {
      send_echo(i);
    }
  }

  void on_event(Index request_idx, GenerateEvent&& event) override {
    if (is_ended_) {
      return;
    }
    PromptState& prompt = prompts_[to_size(request_idx)];
    if (auto* const scores = std::get_if<PromptScores>(&event)) {
      prompt.scores.add(std::move(*scores));
    } else if (const auto* const delta = std::get_if<ReplyDelta>(&event)) {
      send_echo(request_idx);
      send_delta(request_idx, *delta);
    } else if (const auto* const end = std::get_if<ChoiceEnd>(&event)) {
      send_end(request_idx, *end);
    } else if (const auto* const last = std::get_if<RequestEnd>(&event)) {
      end_request(request_idx, last->usage);
    } else if (const auto* const failure = std::get_if<RequestFailure>(&event)) {
      exchange_->send(wire::data_event(wire::openai_error_json(failure->code, failure->message)));
      end_events();
    }
  }

 private:
  struct Choice {
    explicit Choice(std::shared_ptr<const TokenTexts> texts) : logprobs(std::move(texts)) {}
    CompletionLogprobs logprobs;
    bool has_tokens_waiting = false;  // whose text is held back
    bool is_ended = false;
  };
  struct PromptState {
    EchoScores scores;
    bool is_echoed = false;
    std::vector<Choice> choices;
  };

  Choice& choice(Index request_idx, Index choice_idx) {
    return prompts_[to_size(request_idx)].choices[to_size(choice_idx)];
  }

  std::string chunk(Index request_idx,
                    Index choice_idx,
                    std::string_view text,
                    std::string_view finish) {
    Choice& state = choice(request_idx, choice_idx);
    JsonWriter json;
    json.begin_object();
    write_head(json, options_.head, "text_completion");
    json.key("choices").begin_array();
    write_choice(json, request_idx * options_.num_choices + choice_idx, text,
                 state.has_tokens_waiting ? state.logprobs.take() : "", finish);
    state.has_tokens_waiting = false;
    json.end_array();
    if (options_.includes_usage) {
      json.null_field("usage");
    }
    json.end_object();
    return wire::data_event(json.take());
  }

  void send_echo(Index request_idx) {
    PromptState& prompt = prompts_[to_size(request_idx)];
    if (std::exchange(prompt.is_echoed, true)) {
      return;
    }
    const PromptEcho& echo = options_.echoes[to_size(request_idx)];
    for (Index i = 0; i < options_.num_choices; ++i) {
      if (options_.has_logprobs && !echo.ids.empty()) {
        push_echo(echo, prompt.scores, choice(request_idx, i).logprobs);
        choice(request_idx, i).has_tokens_waiting = true;
      }
      if (!echo.text.empty()) {
        exchange_->send(chunk(request_idx, i, echo.text, ""));
      }
    }
  }

  void send_delta(Index request_idx, const ReplyDelta& delta) {
    Choice& state = choice(request_idx, delta.choice_idx);
    if (options_.has_logprobs && delta.token) {
      state.logprobs.push(delta.token->id, &delta.token->logprobs);
      state.has_tokens_waiting = true;
    }
    const std::string text = text_of(delta);
    if (!text.empty()) {
      exchange_->send(chunk(request_idx, delta.choice_idx, text, ""));
    }
  }

  void send_end(Index request_idx, const ChoiceEnd& end) {
    choice(request_idx, end.choice_idx).is_ended = true;
    exchange_->send(chunk(request_idx, end.choice_idx, "", to_string(end.reply.finish)));
  }

  void end_request(Index request_idx, const engine::Usage& usage) {
    send_echo(request_idx);
    for (Index i = 0; i < options_.num_choices; ++i) {
      if (!choice(request_idx, i).is_ended) {
        exchange_->send(chunk(request_idx, i, "", to_string(text::ReplyFinish::Length)));
      }
    }
    usage_ = usage_ + usage;
    if (--num_open_ > 0) {
      return;
    }
    if (options_.includes_usage) {
      JsonWriter json;
      json.begin_object();
      write_head(json, options_.head, "text_completion");
      json.key("choices").begin_array().end_array().key("usage");
      write_usage(json, usage_);
      json.end_object();
      exchange_->send(wire::data_event(json.take()));
    }
    exchange_->send(wire::data_event("[DONE]"));
    end_events();
  }

  void end_events() {
    is_ended_ = true;
    exchange_->end_events();
  }

  const http::ExchangePtr exchange_;
  const CompletionReplyOptions options_;
  std::vector<PromptState> prompts_;
  engine::Usage usage_;
  Index num_open_;
  bool is_ended_ = false;
};

}  // namespace

PromptEcho echo_of(const engine::Prompt& prompt,
                   const engine::PreparedRequest& prepared,
                   const TokenTexts& texts) {
  PromptEcho echo{.ids = prepared.prompt_ids};
  const auto* const text = std::get_if<engine::TextPrompt>(&prompt);
  if (text == nullptr) {
    echo.text = decode(texts.tokenizer(), echo.ids);
    return echo;
  }
  echo.text = text->text;
  std::string all;
  for (const text::TokenId id : echo.ids) {
    all += texts.bytes(id);
  }
  const bool has_bos =
      !echo.ids.empty() && all == std::string(texts.bytes(echo.ids.front())) + echo.text;
  if (has_bos) {
    echo.ids.erase(echo.ids.begin());
    echo.num_hidden = 1;
  }
  return echo;
}

std::shared_ptr<wire::ReplyWriter> make_completion_answer(http::ExchangePtr exchange,
                                                          std::shared_ptr<const TokenTexts> texts,
                                                          CompletionReplyOptions options) {
  return std::make_shared<CompletionAnswer>(std::move(exchange), std::move(texts),
                                            std::move(options));
}

std::shared_ptr<wire::ReplyWriter> make_completion_stream(
    http::ExchangePtr exchange,
    // NOLINTNEXTLINE(performance-unnecessary-value-param): one type with the answer's
    std::shared_ptr<const TokenTexts> texts,
    CompletionReplyOptions options) {
  return std::make_shared<CompletionStream>(std::move(exchange), texts, std::move(options));
}

}  // namespace fathom::openai
