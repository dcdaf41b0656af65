#include "fathom/serve/engine/local_engine.h"

#include <atomic>
#include <map>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/unit/serve/engine/engine_testing.h"

namespace fathom::engine {
namespace {

using fathom::testing::fails_with;
using std::chrono::milliseconds;
using std::chrono::minutes;

Oracle& oracle() {
  static Oracle kOracle;
  return kOracle;
}

// A model in front of the real one.
class FrontModel : public layers::CausalLm {
 public:
  explicit FrontModel(const layers::CausalLm& real) : real_(real) {}
  const config::ModelConfig& config() const override { return real_.config(); }
  const std::vector<config::CacheStream>& cache_layout() const override {
    return real_.cache_layout();
  }
  const layers::DraftModule* draft() const override { return real_.draft(); }
  tensor::Tensor logits(ops::Context& context, const tensor::Tensor& hidden) const override {
    return real_.logits(context, hidden);
  }
  tensor::Tensor forward(ops::Context& context, const layers::TokenBatch& batch) const override {
    return real_.forward(context, batch);
  }

 protected:
  const layers::CausalLm& real_;
};

// An engine over the tiny model.
class Rig {
 public:
  explicit Rig(const EngineOptions& options = small_engine()) : Rig(options, [](EngineModel&) {}) {}
  template <typename Change>
  Rig(const EngineOptions& options, const Change& change) {
    EngineModel model = open_engine_model(tiny_checkpoint(), tiny_options());
    pages_ = model.pages;
    change(model);
    engine_ = std::make_unique<LocalEngine>(std::move(model), tiny_text(), options);
  }
  LocalEngine& operator*() { return *engine_; }
  LocalEngine* operator->() { return engine_.get(); }
  kv::PagePool& pages() { return *pages_; }
  void end() { engine_.reset(); }

 private:
  std::shared_ptr<kv::PagePool> pages_;
  std::unique_ptr<LocalEngine> engine_;
};

// Serves all and compares with the oracle. The others come while the first is being served.
void expect_same_bits(LocalEngine& engine, const std::vector<GenerateRequest>& requests) {
  std::vector<Submitted> submitted = {submit(engine, requests.front(), 1)};
  submitted.front().client->wait_for_events(1);
  for (std::size_t i = 1; i < requests.size(); ++i) {
    submitted.push_back(submit(engine, requests[i]));
  }
  submitted.front().client->let_go();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    submitted[i].client->wait();
    ASSERT_TRUE(submitted[i].client->choice() == oracle().reply(requests[i])) << "request " << i;
  }
}

TEST(LocalEngine, ARequestAloneIsServedAsTheModelSays) {
  Rig engine;
  std::mt19937 random(1);
  for (int i = 0; i < 8; ++i) {
    const GenerateRequest request = random_request(random);
    const auto client = serve(*engine, request);
    ASSERT_TRUE(client->choice() == oracle().reply(request)) << "request " << i;
    ASSERT_TRUE(client->choice().end.has_value());
    EXPECT_EQ(client->choice().end->tokens, client->choice().tokens);
    EXPECT_EQ(client->usage().num_reply, to_index(client->choice().tokens.size()));
    EXPECT_EQ(client->choice().end->reply.content, client->choice().content);
  }
}

TEST(LocalEngine, InABatchOf32EveryReplyIsTheSameBits) {
  EngineOptions options = small_engine();
  options.max_running = 32;
  Rig engine(options);
  std::mt19937 random(2);
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 32; ++i) {
    requests.push_back(random_request(random));
  }
  expect_same_bits(*engine, requests);
  EXPECT_LT(engine->stats().steps, engine->stats().reply_tokens) << "nothing ran together";
}

TEST(LocalEngine, AfterPreemptionForMemoryEveryReplyIsTheSameBits) {
  EngineOptions options = small_engine();
  // As little memory as one request may need.
  const EngineModel model = open_engine_model(tiny_checkpoint(), tiny_options());
  std::vector<config::CacheStream> layout = model.lm->cache_layout();
  const std::vector<config::CacheStream>& draft = model.lm->draft()->cache_layout();
  layout.insert(layout.end(), draft.begin(), draft.end());
  const kv::CacheSize size(layout, tensor::DType::F32, model.cache_options);
  options.cache_budget_bytes = size.resident_bytes(model.limits.max_context) +
                               size.growth_bytes(0, options.step_tokens) + size.fork_bytes();
  Rig engine(options);
  std::mt19937 random(3);
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 8; ++i) {
    requests.push_back(random_request(random, 10));
    requests.back().max_tokens = 250;
  }
  expect_same_bits(*engine, requests);
  EXPECT_GT(engine->stats().preemptions, 0U);
}

TEST(LocalEngine, AfterPreemptionForOthersEveryReplyIsTheSameBits) {
  EngineOptions options = small_engine();
  options.max_running = 2;
  Rig engine(options);
  std::mt19937 random(3);
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 16; ++i) {
    requests.push_back(random_request(random, 60, 12));
    requests.back().priority = 16 - i;
    requests.back().cache_scope = std::string(1, "ab"[i % 2]);
  }
  requests.front().max_tokens = 12;
  expect_same_bits(*engine, requests);
  EXPECT_GT(engine->stats().preemptions, 0U);
}

// Requests whose replies a draft block can guess about half of the time: two tokens are likely.
std::vector<GenerateRequest> guessable_requests(std::mt19937& random, int count) {
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < count; ++i) {
    requests.push_back(random_request(random, 60, 40));
    requests.back().sampling.logit_bias = {{.id = 'a', .bias = 9}, {.id = 'b', .bias = 8.5}};
  }
  return requests;
}

TEST(LocalEngine, GuessesChangeHowManyStepsAReplyTakesButNoBit) {
  std::mt19937 random(22);
  std::vector<GenerateRequest> requests = guessable_requests(random, 12);
  requests[3].stop_strings = {"ab"};
  requests[5].num_prompt_logprobs = 0;
  std::map<Drafts, EngineStats> stats;
  for (const Drafts drafts : {Drafts::Off, Drafts::WhenFaster, Drafts::Always}) {
    EngineOptions options = small_engine();
    options.drafts = drafts;
    Rig engine(options);
    expect_same_bits(*engine, requests);
    stats[drafts] = engine->stats();
  }
  EXPECT_EQ(stats[Drafts::Off].drafted_tokens, 0U);
  const EngineStats& always = stats[Drafts::Always];
  EXPECT_GT(always.accepted_drafts, always.drafted_tokens / 10) << "too few are right";
  EXPECT_LT(always.accepted_drafts, always.drafted_tokens * 9 / 10) << "too few are wrong";
  EXPECT_LT(always.steps, stats[Drafts::Off].steps);
}

TEST(LocalEngine, GuessesSurvivePreemptionForksAndWarmPrefixes) {
  EngineOptions options = small_engine();
  options.drafts = Drafts::Always;
  options.max_running = 3;
  Rig engine(options);
  std::mt19937 random(23);
  std::vector<GenerateRequest> requests = guessable_requests(random, 14);
  requests.front().max_tokens = 40;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].priority = -static_cast<int>(i) % 3;
  }
  expect_same_bits(*engine, requests);
  EXPECT_GT(engine->stats().preemptions, 0U);
  const std::uint64_t num_drafted = engine->stats().drafted_tokens;
  // Once more, from what was kept; and in several choices.
  for (GenerateRequest& request : requests) {
    request.num_choices = 3;
    const auto client = serve(*engine, request);
    for (Index choice = 0; choice < 3; ++choice) {
      ASSERT_TRUE(client->choice(choice) == oracle().reply(request, choice));
    }
  }
  EXPECT_GT(engine->stats().cached_tokens_memory, 0U);
  EXPECT_GT(engine->stats().drafted_tokens, num_drafted);
}

TEST(LocalEngine, FromAWarmPrefixOfAnyLengthAReplyIsTheSameBits) {
  std::mt19937 random(4);
  const GenerateRequest request = request_of(random_tokens(random, 150), 6);
  const std::vector<TokenId>& prompt = std::get<TokenPrompt>(request.prompt).ids;
  const Heard expected = oracle().reply(request);
  Rig engine;
  Index num_cached = 0;
  for (Index split = 1; split < 150; split += 5) {
    // Another sequence that shares the first `split` tokens, longer or shorter than that.
    std::vector<TokenId> other(prompt.begin(), prompt.begin() + split);
    if (split % 2 == 0) {
      other.push_back(prompt[to_size(split)] == 5 ? 6 : 5);
      const std::vector<TokenId> rest = random_tokens(random, 100);
      other.insert(other.end(), rest.begin(), rest.end());
    }
    GenerateRequest first = request_of(other, 1);
    first.cache_scope = std::to_string(split);
    serve(*engine, first);
    GenerateRequest second = request;
    second.cache_scope = std::to_string(split);
    const auto client = serve(*engine, second);
    ASSERT_TRUE(client->choice() == expected) << "split " << split;
    ASSERT_LE(client->usage().num_cached, split);
    // At worst it goes on from the checkpoint before.
    ASSERT_GT(client->usage().num_cached, split - 49) << "split " << split;
    num_cached += client->usage().num_cached;
  }
  EXPECT_EQ(engine->stats().cached_tokens_memory, static_cast<std::uint64_t>(num_cached));
}

TEST(LocalEngine, TheNextTurnOfAConversationComputesOnlyWhatIsNew) {
  Rig engine;
  std::mt19937 random(5);
  std::vector<TokenId> prompt = random_tokens(random, 60);
  for (int turn = 0; turn < 4; ++turn) {
    const GenerateRequest request = request_of(prompt, 10, 7);
    const auto client = serve(*engine, request);
    ASSERT_TRUE(client->choice() == oracle().reply(request));
    if (turn > 0) {
      // All of the turn before but its last token, which was never computed.
      EXPECT_EQ(client->usage().num_cached, to_index(prompt.size()) - 21);
    }
    const std::vector<TokenId>& reply = client->choice().tokens;
    prompt.insert(prompt.end(), reply.begin(), reply.end());
    const std::vector<TokenId> more = random_tokens(random, 20);
    prompt.insert(prompt.end(), more.begin(), more.end());
  }
}

TEST(LocalEngine, ScopesDoNotShareWhatWasComputed) {
  Rig engine;
  std::mt19937 random(6);
  GenerateRequest request = request_of(random_tokens(random, 50), 3);
  request.cache_scope = "a";
  serve(*engine, request);
  request.cache_scope = "b";
  EXPECT_EQ(serve(*engine, request)->usage().num_cached, 0);
  request.cache_scope = "a";
  EXPECT_EQ(serve(*engine, request)->usage().num_cached, 49);
}

TEST(LocalEngine, ChoicesAreForksThatSayWhatEachWouldSayAlone) {
  Rig engine;
  std::mt19937 random(7);
  GenerateRequest request = request_of(random_tokens(random, 90), 20);
  request.num_choices = 4;
  const auto client = serve(*engine, request);
  std::set<std::vector<TokenId>> distinct;
  for (Index choice = 0; choice < 4; ++choice) {
    ASSERT_TRUE(client->choice(choice) == oracle().reply(request, choice)) << choice;
    distinct.insert(client->choice(choice).tokens);
  }
  EXPECT_EQ(distinct.size(), 4U);
  EXPECT_EQ(client->usage().num_prompt, 90);
  // The prompt was computed once; each other choice computed what is not worth waiting for, its
  // last token where steps are fast enough for the whole prompt, less than 32 elsewhere.
  const EngineStats stats = engine->stats();
  EXPECT_LT(stats.step_tokens - stats.drafted_tokens,
            static_cast<std::uint64_t>(90 + 3 * 32 + 4 * 19));
}

TEST(LocalEngine, RequestsThatBeginAlikeWaitForTheOneThatComputesIt) {
  Rig engine;
  std::mt19937 random(8);
  const std::vector<TokenId> common = random_tokens(random, 200);
  std::vector<GenerateRequest> requests;
  std::vector<Submitted> submitted;
  for (int i = 0; i < 6; ++i) {
    std::vector<TokenId> prompt = common;
    prompt.push_back(static_cast<TokenId>(i));
    requests.push_back(request_of(prompt, 4));
    submitted.push_back(submit(*engine, requests.back()));
  }
  Index num_cached = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    submitted[i].client->wait();
    ASSERT_TRUE(submitted[i].client->choice() == oracle().reply(requests[i]));
    num_cached += submitted[i].client->usage().num_cached;
  }
  // 5 times 200, but for what going back costs in replay.
  EXPECT_GE(num_cached, 5 * (200 - 48));
}

TEST(LocalEngine, NeighboursThatGoAwayAreNotNoticed) {
  Rig engine;
  std::mt19937 random(9);
  std::vector<GenerateRequest> requests;
  std::vector<Submitted> kept;
  std::vector<Submitted> leaving;
  for (int i = 0; i < 40; ++i) {
    GenerateRequest request = random_request(random, 80, 40);
    if (i % 2 == 0) {
      requests.push_back(request);
      kept.push_back(submit(*engine, request));
    } else {
      leaving.push_back(submit(*engine, request));
    }
  }
  for (const Submitted& each : leaving) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    engine->cancel(each.id);
    each.client->close();
  }
  for (std::size_t i = 0; i < requests.size(); ++i) {
    kept[i].client->wait();
    ASSERT_TRUE(kept[i].client->choice() == oracle().reply(requests[i])) << "request " << i;
  }
  EXPECT_TRUE(engine->wait_until_idle(minutes(1)));
}

TEST(LocalEngine, ACancelledRequestLeavesAndWhatItComputedIsKept) {
  Rig engine;
  std::mt19937 random(10);
  GenerateRequest request = request_of(random_tokens(random, 100), 200);
  const Submitted running = submit(*engine, request, 3);
  running.client->wait_for_events(3);
  std::thread canceller([&] { engine->cancel(running.id); });
  running.client->let_go();
  canceller.join();
  running.client->close();  // from here on an event is an error
  EXPECT_TRUE(engine->wait_until_idle(minutes(1)));
  EXPECT_EQ(engine->stats().requests_cancelled, 1U);
  engine->cancel(running.id);                      // no more there
  engine->cancel(static_cast<RequestId>(12'345));  // never was
  request.max_tokens = 2;
  EXPECT_EQ(serve(*engine, request)->usage().num_cached, 99);
}

TEST(LocalEngine, ASinkMayCancelItsOwnRequest) {
  Rig engine;
  std::mt19937 random(11);
  std::atomic<int> num_events = 0;
  std::atomic<RequestId> id{};
  std::atomic<bool> is_set = false;
  id = engine->submit(
      prepare(request_of(random_tokens(random, 5), 100), engine->text(), engine->limits()),
      [&](GenerateEvent&&) {
        while (!is_set) {
          std::this_thread::yield();
        }
        ++num_events;
        engine->cancel(id);
      });
  is_set = true;
  EXPECT_TRUE(engine->wait_until_idle(minutes(1)));
  EXPECT_EQ(num_events, 1);
}

TEST(LocalEngine, ASinkThatThrowsEndsItsRequestAlone) {
  Rig engine;
  std::mt19937 random(12);
  const GenerateRequest request = random_request(random);
  engine->submit(
      prepare(request_of(random_tokens(random, 5), 100), engine->text(), engine->limits()),
      [](GenerateEvent&&) { throw std::runtime_error("broken pipe"); });
  const auto client = serve(*engine, request);
  EXPECT_TRUE(client->choice() == oracle().reply(request));
  EXPECT_TRUE(engine->wait_until_idle(minutes(1)));
  EXPECT_EQ(engine->stats().requests_cancelled, 1U);
}

// Fails for one token, in the layers or in the head; or gives no number as a logit.
class FaultyModel final : public FrontModel {
 public:
  enum class Fault { Layers, Head, NoNumber };
  static constexpr TokenId kBad = 77;
  FaultyModel(const layers::CausalLm& real, Fault fault) : FrontModel(real), fault_(fault) {}

  tensor::Tensor forward(ops::Context& context, const layers::TokenBatch& batch) const override {
    const bool is_bad =
        std::find(batch.tokens.begin(), batch.tokens.end(), kBad) != batch.tokens.end();
    if (fault_ == Fault::Layers && is_bad) {
      fail(ErrorCode::OutOfMemory, "no memory for this token");
    }
    const tensor::Tensor hidden = real_.forward(context, batch);
    // Marks the row of the bad token for the head.
    const Index row_size = hidden.num_elements() / hidden.dim(0);
    for (std::size_t row = 0; row < batch.tokens.size(); ++row) {
      if (batch.tokens[row] == kBad) {
        hidden.data<float>()[to_index(row) * row_size] = std::numeric_limits<float>::quiet_NaN();
      }
    }
    return hidden;
  }
  tensor::Tensor logits(ops::Context& context, const tensor::Tensor& hidden) const override {
    const Index row_size = hidden.num_elements() / hidden.dim(0);
    for (Index row = 0; fault_ == Fault::Head && row < hidden.dim(0); ++row) {
      if (std::isnan(hidden.data<float>()[row * row_size])) {
        fail(ErrorCode::Internal, "the head does not like this");
      }
    }
    return real_.logits(context, hidden);
  }

 private:
  Fault fault_;
};

class FaultyEngine : public ::testing::TestWithParam<FaultyModel::Fault> {};

TEST_P(FaultyEngine, AFailedRequestLeavesItsNeighboursAndTheNextOnesServable) {
  std::optional<FaultyModel> faulty;
  Rig engine(small_engine(), [&](EngineModel& model) {
    faulty.emplace(*model.lm, GetParam());
    model.lm = &*faulty;
  });
  std::mt19937 random(13);
  const auto harmless = [&](Index count) {
    std::vector<TokenId> tokens = random_tokens(random, count);
    std::replace(tokens.begin(), tokens.end(), FaultyModel::kBad, TokenId{78});
    return tokens;
  };
  // Replies must not come upon the bad token by themselves.
  const auto request = [&](std::vector<TokenId> prompt, Index num_reply) {
    GenerateRequest made = request_of(std::move(prompt), num_reply);
    made.sampling.logit_bias = {{.id = FaultyModel::kBad, .bias = -100}};
    return made;
  };
  std::vector<GenerateRequest> requests;
  std::vector<Submitted> good;
  std::vector<Submitted> bad;
  for (int i = 0; i < 6; ++i) {
    requests.push_back(request(harmless(20 + i), 30));
    good.push_back(submit(*engine, requests.back()));
    std::vector<TokenId> prompt = harmless(10);
    prompt.push_back(FaultyModel::kBad);
    GenerateRequest two = request(prompt, 30);
    two.num_choices = 2;
    bad.push_back(submit(*engine, two));
  }
  for (const Submitted& each : bad) {
    each.client->wait();
    ASSERT_TRUE(each.client->failure().has_value());
    EXPECT_FALSE(each.client->failure()->message.empty());
    EXPECT_EQ(each.client->failure()->code, GetParam() == FaultyModel::Fault::Layers
                                                ? ErrorCode::OutOfMemory
                                                : ErrorCode::Internal);
  }
  for (std::size_t i = 0; i < requests.size(); ++i) {
    good[i].client->wait();
    ASSERT_TRUE(good[i].client->choice() == oracle().reply(requests[i])) << "request " << i;
  }
  const GenerateRequest next = request(harmless(30), 10);
  EXPECT_TRUE(serve(*engine, next)->choice() == oracle().reply(next));
  EXPECT_EQ(engine->stats().requests_failed, 6U);
}

INSTANTIATE_TEST_SUITE_P(Faults,
                         FaultyEngine,
                         ::testing::Values(FaultyModel::Fault::Layers,
                                           FaultyModel::Fault::Head,
                                           FaultyModel::Fault::NoNumber));

TEST(LocalEngine, BeyondTheQueueRequestsAreRefusedAndAcceptedOnesFinish) {
  EngineOptions options = small_engine();
  options.max_running = 2;
  options.max_waiting = 3;
  Rig engine(options);
  std::mt19937 random(14);
  std::vector<Submitted> accepted;
  for (int i = 0; i < 5; ++i) {
    accepted.push_back(submit(*engine, request_of(random_tokens(random, 50), 20), i == 0 ? 0 : -1));
  }
  EXPECT_TRUE(fails_with(ErrorCode::Overloaded, "try again later",
                         [&] { submit(*engine, request_of({1}, 1)); }));
  EXPECT_EQ(engine->stats().requests_rejected, 1U);
  accepted.front().client->let_go();
  for (const Submitted& each : accepted) {
    each.client->wait();
    EXPECT_TRUE(each.client->choice().end.has_value());
  }
  EXPECT_TRUE(engine->wait_until_idle(minutes(1)));
  EXPECT_TRUE(serve(*engine, request_of({1}, 1))->choice().end.has_value());
}

TEST(LocalEngine, ADrainingEngineFinishesWhatItHas) {
  Rig engine;
  std::mt19937 random(15);
  const GenerateRequest request = request_of(random_tokens(random, 20), 50);
  const Submitted running = submit(*engine, request);
  engine->drain();
  EXPECT_TRUE(fails_with(ErrorCode::Unavailable, "going down",
                         [&] { submit(*engine, request_of({1}, 1)); }));
  EXPECT_TRUE(engine->wait_until_idle(minutes(1)));
  EXPECT_TRUE(running.client->choice() == oracle().reply(request));
}

TEST(LocalEngine, AnEngineThatEndsTellsEveryClient) {
  EngineOptions options = small_engine();
  options.max_running = 2;
  Rig engine(options);
  std::mt19937 random(16);
  std::vector<Submitted> open;
  for (int i = 0; i < 6; ++i) {
    open.push_back(submit(*engine, request_of(random_tokens(random, 50), 300)));
  }
  open.front().client->wait_for_events(1);
  engine.end();
  for (const Submitted& each : open) {
    each.client->wait();
    ASSERT_TRUE(each.client->failure().has_value());
    EXPECT_EQ(each.client->failure()->code, ErrorCode::Unavailable);
  }
  EXPECT_EQ(engine.pages().used_bytes(), 0);
}

TEST(LocalEngine, ADeadlineEndsARequestWithWhatThereIs) {
  EngineOptions options = small_engine();
  options.max_running = 1;
  Rig engine(options);
  std::mt19937 random(17);
  GenerateRequest request = request_of(random_tokens(random, 20), 370);
  const Heard whole = oracle().reply(request);
  request.deadline = milliseconds(60);
  const Submitted running = submit(*engine, request);
  const Submitted waiting = submit(*engine, request);
  for (const Submitted& each : {running, waiting}) {
    each.client->wait();
    ASSERT_TRUE(each.client->choice().end.has_value());
    const std::vector<TokenId>& tokens = each.client->choice().tokens;
    ASSERT_LE(tokens.size(), whole.tokens.size());
    EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), whole.tokens.begin()));
    EXPECT_EQ(each.client->choice().end->tokens, tokens);
    EXPECT_EQ(each.client->usage().num_reply, to_index(tokens.size()));
  }
  GenerateRequest none = request_of(random_tokens(random, 20), 370);
  none.deadline = milliseconds(0);
  const auto client = serve(*engine, none);
  EXPECT_TRUE(client->choice().end.has_value());
  EXPECT_EQ(client->choice().end->reply.finish, text::ReplyFinish::Length);
}

TEST(LocalEngine, PromptsAreScoredAsTheModelSays) {
  Rig engine;
  std::mt19937 random(18);
  for (const Index num_reply : {0, 3}) {
    // The second time most of it could be taken over, and must be computed all the same.
    const std::vector<TokenId> prompt = random_tokens(random, 170);
    for (int i = 0; i < 2; ++i) {
      GenerateRequest request = request_of(prompt, num_reply);
      request.num_prompt_logprobs = 3;
      const auto client = serve(*engine, request);
      ASSERT_TRUE(client->scores() == oracle().scores(prompt, 3)) << num_reply << " " << i;
      EXPECT_EQ(client->scores().logprobs.size(), 169U);
      if (num_reply > 0) {
        EXPECT_TRUE(client->choice() == oracle().reply(request));
      } else {
        EXPECT_FALSE(client->choice().end.has_value());
        EXPECT_EQ(client->usage().num_reply, 0);
      }
    }
  }
  const auto client = serve(*engine, [] {
    GenerateRequest request = request_of({3}, 0);
    request.num_prompt_logprobs = 1;
    return request;
  }());
  EXPECT_TRUE(client->scores().logprobs.empty());
}

TEST(LocalEngine, ProgressCountsUpToTheWholePrompt) {
  Rig engine;
  std::mt19937 random(19);
  const std::vector<TokenId> prompt = random_tokens(random, 300);
  std::vector<TokenId> half(prompt.begin(), prompt.begin() + 150);
  serve(*engine, request_of(half, 1));
  GenerateRequest request = request_of(prompt, 2);
  request.wants_progress = true;
  const auto client = serve(*engine, request);
  ASSERT_GE(client->progress().size(), 3U);
  EXPECT_EQ(client->progress().front().num_computed, 0);
  EXPECT_EQ(client->progress().back().num_computed + client->usage().num_cached, 300);
  for (std::size_t i = 1; i < client->progress().size(); ++i) {
    EXPECT_GT(client->progress()[i].num_computed, client->progress()[i - 1].num_computed);
    EXPECT_EQ(client->progress()[i].num_cached, 150);
    EXPECT_EQ(client->progress()[i].num_total, 300);
  }
}

TEST(LocalEngine, StopStringsAndEndTokensEndAReply) {
  Rig engine;
  std::mt19937 random(20);
  GenerateRequest request = request_of(random_tokens(random, 40), 300);
  request.sampling.logit_bias = {{.id = 'q', .bias = 8}};
  request.stop_strings = {"q"};
  const auto client = serve(*engine, request);
  EXPECT_TRUE(client->choice() == oracle().reply(request));
  EXPECT_EQ(client->choice().end->reply.finish, text::ReplyFinish::Stop);
  EXPECT_LT(client->choice().tokens.size(), 300U);
  request.stop_strings = {};
  request.sampling.logit_bias = {{.id = 511, .bias = 8}};
  const auto ended = serve(*engine, request);
  EXPECT_TRUE(ended->choice() == oracle().reply(request));
  EXPECT_EQ(ended->choice().tokens.back(), 511);
}

TEST(LocalEngine, MemoryStaysWithinItsBudgetOverThousandsOfRequests) {
  EngineOptions options = small_engine();
  options.max_running = 16;
  options.max_retained = 50;
  options.max_waiting = 4000;
  options.cache_budget_bytes = std::int64_t{24} << 20;
  Rig engine(options);
  std::mt19937 random(21);
  std::vector<Submitted> submitted;
  for (int i = 0; i < 1000; ++i) {
    submitted.push_back(submit(*engine, random_request(random, 8, 3)));
    if (i % 50 == 0) {
      EXPECT_LE(engine.pages().used_bytes(), options.cache_budget_bytes);
    }
    if (i % 7 == 0) {
      engine->cancel(submitted.back().id);
      submitted.back().client->close();
    }
  }
  for (const Submitted& each : submitted) {
    each.client->wait();
  }
  ASSERT_TRUE(engine->wait_until_idle(minutes(1)));
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.requests_served + stats.requests_cancelled, 1000U);
  EXPECT_LE(stats.cache_bytes, options.cache_budget_bytes);
  EXPECT_EQ(stats.num_running, 0);
  EXPECT_EQ(stats.num_waiting, 0);
  // Of all served ones, and of those cancelled too late.
  EXPECT_GE(stats.time_to_first_token.count(), stats.requests_served);
  EXPECT_LE(stats.time_to_first_token.count(), 1000U);
  engine.end();
  EXPECT_EQ(engine.pages().used_bytes(), 0);
}

TEST(LocalEngine, RefusesABudgetThatNoContextFits) {
  EngineOptions options = small_engine();
  options.cache_budget_bytes = 1 << 20;
  EXPECT_TRUE(
      fails_with(ErrorCode::InvalidArgument, "expected at most 1048576 bytes",
                 [&] { Rig engine(options); }) ||
      fails_with(ErrorCode::InvalidArgument, "(the cache's budget)", [&] { Rig engine(options); }));
}

}  // namespace
}  // namespace fathom::engine
