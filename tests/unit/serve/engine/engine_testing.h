// A small model of every kind of layer, served by an engine; and what the same model says to one
// request alone, computed without an engine.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/serving.h"

#include "tests/unit/model/text/text_testing.h"

namespace fathom::engine {

// Of a vocabulary of 512: bytes, pairs of letters, <end>.
inline text::TextModel tiny_text() {
  text::Merges merges;
  for (char left = 'a'; left <= 'p'; ++left) {
    for (char right = 'a'; right <= 'p' && merges.size() < 255; ++right) {
      merges.emplace_back(std::string(1, left), std::string(1, right));
    }
  }
  text::TextModel model = text::make_text_model(text::parse(text::small_document(merges)), nullptr);
  model.stop_ids = {511};
  return model;
}

inline std::string tiny_checkpoint() {
  return std::string(FATHOM_SOURCE_DIR "/tests/data/golden/checkpoints/flash-tiny");
}

// Forgets soon, so that going back means computing again.
inline ModelOptions tiny_options() {
  ModelOptions options;
  options.num_threads = 1;
  options.max_context = 400;
  options.raw_tokens = 40;
  options.checkpoint_interval = 48;
  return options;
}

inline ModelOptions with_adapter(const std::string& folder) {
  ModelOptions options = tiny_options();
  options.adapter = folder;
  return options;
}

// All that a client was told.
struct Heard {
  std::vector<TokenId> tokens;
  std::vector<double> logprobs;
  std::vector<std::vector<std::pair<TokenId, double>>> tops;
  std::string content;
  std::optional<ChoiceEnd> end;

  friend bool operator==(const Heard& a, const Heard& b) {
    return a.tokens == b.tokens && a.logprobs == b.logprobs && a.tops == b.tops &&
           a.content == b.content;
  }
};

inline void hear(Heard& heard, const sampling::TokenLogprobs& logprobs) {
  heard.logprobs.push_back(logprobs.logprob);
  heard.tops.emplace_back();
  for (const sampling::TokenLogprob& top : logprobs.top) {
    heard.tops.back().emplace_back(top.id, top.logprob);
  }
}

// One request and its events, which arrive from the engine's thread.
class Client {
 public:
  explicit Client(Index num_choices) : choices_(to_size(num_choices)) {}

  void take(GenerateEvent&& event) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return num_events_ < num_allowed_; });
    EXPECT_FALSE(is_closed_) << "an event after the last one, or after cancel() had returned";
    ++num_events_;
    if (auto* delta = std::get_if<ReplyDelta>(&event)) {
      Heard& heard = choices_[to_size(delta->choice_idx)];
      EXPECT_FALSE(heard.end.has_value());
      if (delta->token) {
        heard.tokens.push_back(delta->token->id);
        hear(heard, delta->token->logprobs);
      }
      for (const text::ReplyEvent& part : delta->events) {
        heard.content += part.text;
      }
    } else if (auto* end = std::get_if<ChoiceEnd>(&event)) {
      choices_[to_size(end->choice_idx)].end = std::move(*end);
    } else if (auto* scores = std::get_if<PromptScores>(&event)) {
      EXPECT_EQ(scores->first, to_index(scores_.logprobs.size()) + 1);
      for (const sampling::TokenLogprobs& each : scores->tokens) {
        hear(scores_, each);
      }
    } else if (auto* progress = std::get_if<PromptProgress>(&event)) {
      progress_.push_back(*progress);
    } else if (auto* last = std::get_if<RequestEnd>(&event)) {
      usage_ = last->usage;
      is_closed_ = true;
    } else {
      failure_ = std::get<RequestFailure>(event);
      is_closed_ = true;
    }
    changed_.notify_all();
  }

  // The sink does not return from more than so many events: the engine stands still. Before a
  // request is submitted.
  void hold_after(Index num_events) { num_allowed_ = num_events; }
  void let_go() {
    const std::lock_guard lock(mutex_);
    num_allowed_ = std::numeric_limits<Index>::max();
    changed_.notify_all();
  }

  void close() {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
  }
  // Fails the test when nothing comes for a minute.
  void wait() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::minutes(1), [&] { return is_closed_; }));
  }
  void wait_for_events(Index count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::minutes(1),
                                  [&] { return num_events_ >= count || is_closed_; }));
  }

  const Heard& choice(Index idx = 0) const { return choices_[to_size(idx)]; }
  const Heard& scores() const { return scores_; }
  const std::vector<PromptProgress>& progress() const { return progress_; }
  const std::optional<RequestFailure>& failure() const { return failure_; }
  const Usage& usage() const { return usage_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Heard> choices_;
  Heard scores_;
  std::vector<PromptProgress> progress_;
  Usage usage_;
  std::optional<RequestFailure> failure_;
  Index num_events_ = 0;
  Index num_allowed_ = std::numeric_limits<Index>::max();
  bool is_closed_ = false;
};

struct Submitted {
  RequestId id{};
  std::shared_ptr<Client> client;
};

inline Submitted submit(Engine& engine, GenerateRequest request, Index num_events_until_hold = -1) {
  auto client = std::make_shared<Client>(request.num_choices);
  if (num_events_until_hold >= 0) {
    client->hold_after(num_events_until_hold);
  }
  const RequestId id =
      engine.submit(prepare(std::move(request), engine.text(), engine.limits()),
                    [client](GenerateEvent&& event) { client->take(std::move(event)); });
  return {id, client};
}

inline std::shared_ptr<Client> serve(Engine& engine, GenerateRequest request) {
  const Submitted submitted = submit(engine, std::move(request));
  submitted.client->wait();
  return submitted.client;
}

inline std::vector<TokenId> random_tokens(std::mt19937& random, Index count) {
  std::vector<TokenId> tokens(to_size(count));
  std::generate(tokens.begin(), tokens.end(), [&] { return static_cast<TokenId>(random() % 511); });
  return tokens;
}

inline GenerateRequest request_of(std::vector<TokenId> prompt,
                                  Index max_tokens,
                                  std::uint64_t seed = 1) {
  GenerateRequest request;
  request.prompt = TokenPrompt{std::move(prompt)};
  request.max_tokens = max_tokens;
  request.sampling.seed = seed;
  request.sampling.num_top_logprobs = 2;
  request.has_seed = true;
  return request;
}

// Any prompt, any way of sampling.
inline GenerateRequest random_request(std::mt19937& random,
                                      Index most_prompt = 120,
                                      Index most_reply = 24) {
  const auto below = [&](Index most) { return 1 + static_cast<Index>(random() % to_size(most)); };
  // In statements of their own: compilers order draws in the arguments of a call as they like.
  const std::vector<TokenId> prompt = random_tokens(random, below(most_prompt));
  const Index num_reply = below(most_reply);
  GenerateRequest request = request_of(prompt, num_reply, random());
  request.sampling.temperature = std::vector<double>{0, 0.7, 1, 1.5}[random() % 4];
  request.sampling.top_p = random() % 2 == 0 ? 1 : 0.9;
  request.sampling.repetition_penalty = random() % 3 == 0 ? 1.2 : 1;
  return request;
}

// What the model says to a request alone.
class Oracle {
 public:
  explicit Oracle(const std::string& checkpoint = tiny_checkpoint(),
                  const std::string& adapter = "")
      : model_(Model::open(checkpoint, with_adapter(adapter))),
        text_(tiny_text(), model_->facts().vocab_size) {}

  Heard reply(const GenerateRequest& request, Index choice_idx = 0) {
    PreparedRequest prepared = prepare(request, text_, limits());
    prepared.generation.choice_idx = choice_idx;
    sampling::Generation generation(prepared.generation, limits().vocab_size, prepared.prompt_ids);
    ReplyReader reader(prepared, text_, choice_idx);
    Session session = model_->start();
    std::vector<float> logits = session.append(prepared.prompt_ids);
    Heard heard;
    const auto read = [&](const ReplyDelta& delta) {
      for (const text::ReplyEvent& part : delta.events) {
        heard.content += part.text;
      }
    };
    while (true) {
      const sampling::Picked& picked = generation.next(logits);
      heard.tokens.push_back(picked.id);
      hear(heard, picked.logprobs);
      read(reader.push(picked));
      if (reader.is_done() || generation.finish_reason()) {
        break;
      }
      logits = session.append({&picked.id, 1});
    }
    read(reader.finish(!reader.is_done(), false).first);
    return heard;
  }

  Heard scores(const std::vector<TokenId>& prompt, Index num_top) {
    Heard heard;
    Session session = model_->start();
    const auto vocab_size = to_size(limits().vocab_size);
    session.append(prompt, [&](Index first, Index count, const float* logits) {
      for (Index row = 0; row < count && first + row + 1 < to_index(prompt.size()); ++row) {
        sampling::Sampler sampler;
        sampling::TokenLogprobs found;
        sampler.logprobs({logits + to_size(row) * vocab_size, vocab_size},
                         prompt[to_size(first + row + 1)], num_top, found);
        hear(heard, found);
      }
    });
    return heard;
  }

 private:
  ModelLimits limits() const {
    return {.vocab_size = model_->facts().vocab_size, .max_context = model_->facts().max_context};
  }

  std::shared_ptr<Model> model_;
  TextServices text_;
};

inline EngineOptions small_engine() {
  EngineOptions options;
  options.max_running = 8;
  options.step_tokens = 64;
  options.cache_budget_bytes = std::int64_t{1} << 30;
  return options;
}

}  // namespace fathom::engine
