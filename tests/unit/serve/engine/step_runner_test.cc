#include "fathom/serve/engine/step_runner.h"

#include <gtest/gtest.h>

#include "tests/unit/serve/engine/engine_testing.h"

namespace fathom::engine {
namespace {

class StepRunners : public ::testing::Test {
 protected:
  StepRunners()
      : model_(open_engine_model(tiny_checkpoint(), tiny_options())),
        text_(tiny_text(), 512),
        runner_(*model_.lm, *model_.context) {}

  Sequence& add(const GenerateRequest& request) {
    requests_.push_back(make_active(prepare(request, text_, model_.limits), {}, text_, 512));
    Sequence& sequence = *requests_.back()->sequences.front();
    const auto make = [&](const std::vector<config::CacheStream>& layout) {
      return kv::SequenceCache(layout, model_.context->cache_dtype(), model_.cache_options,
                               model_.pages);
    };
    sequence.caches = SequenceCaches{.model = make(model_.lm->cache_layout()),
                                     .draft = make(model_.lm->draft()->cache_layout())};
    return sequence;
  }

  EngineModel model_;
  TextServices text_;
  StepRunner runner_;
  Oracle oracle_;
  std::vector<std::unique_ptr<ActiveRequest>> requests_;
};

TEST_F(StepRunners, OnlySequencesThatAreComputedToTheirEndGetAToken) {
  std::mt19937 random(1);
  const GenerateRequest first = request_of(random_tokens(random, 5), 3, 1);
  const GenerateRequest second = request_of(random_tokens(random, 30), 3, 2);
  const GenerateRequest third = request_of(random_tokens(random, 9), 3, 3);
  Sequence& a = add(first);
  Sequence& b = add(second);
  Sequence& c = add(third);
  const std::vector<StepSegment> segments = {{&a, 5}, {&b, 20}, {&c, 9}};
  const auto results = runner_.run(segments, Guesses::None);
  ASSERT_EQ(results.size(), 3U);
  EXPECT_EQ(results[0].drawn.at(0).picked.id, oracle_.reply(first).tokens.front());
  EXPECT_TRUE(results[1].drawn.empty());
  EXPECT_EQ(results[2].drawn.at(0).picked.id, oracle_.reply(third).tokens.front());
  EXPECT_EQ(a.num_tokens(), 6);
  EXPECT_EQ(b.num_cached(), 20);
  EXPECT_EQ(b.num_tokens(), 30);
  // The draft block keeps step.
  EXPECT_EQ(a.caches->draft->num_tokens(), 5);
  EXPECT_EQ(b.caches->draft->num_tokens(), 20);
}

TEST_F(StepRunners, AGuessIsComputedWithTheNextTokenAndCountsIfItIsDrawn) {
  std::mt19937 random(2);
  GenerateRequest request = request_of(random_tokens(random, 12), 30, 4);
  request.sampling.logit_bias = {{.id = 'a', .bias = 9}, {.id = 'b', .bias = 8.5}};
  Sequence& sequence = add(request);
  std::vector<TokenId> tokens;
  Index num_right = 0;
  Index num_wrong = 0;
  while (!sequence.generation->finish_reason()) {
    const Index num_left = sequence.num_tokens() - sequence.num_cached();
    const StepSegment segment = {&sequence, num_left};
    const StepResult& result = runner_.run({&segment, 1}, Guesses::Make).front();
    ASSERT_EQ(result.error, nullptr);
    for (const Drawn& drawn : result.drawn) {
      tokens.push_back(drawn.picked.id);
    }
    const Index right = to_index(result.drawn.size()) - 1;
    num_right += right;
    num_wrong += result.num_guessed - right;
    // All is computed but the last token that was drawn, and the guess after it.
    ASSERT_EQ(sequence.num_cached() + 1 + sequence.num_guesses, sequence.num_tokens());
  }
  EXPECT_EQ(tokens, oracle_.reply(request).tokens);
  EXPECT_TRUE(sequence.tokens == [&] {
    std::vector<TokenId> all = requests_.front()->prepared.prompt_ids;
    all.insert(all.end(), tokens.begin(), tokens.end());
    return all;
  }());
  EXPECT_GT(num_right, 0);
  EXPECT_GT(num_wrong, 0);
}

TEST_F(StepRunners, ADraftBlockThatFellBehindIsGivenUp) {
  std::mt19937 random(3);
  Sequence& sequence = add(request_of(random_tokens(random, 12), 30, 4));
  sequence.caches->draft->truncate(0);
  StepSegment segment = {&sequence, 6};
  runner_.run({&segment, 1}, Guesses::Make);
  ASSERT_TRUE(sequence.caches->draft.has_value());
  sequence.caches->draft->truncate(3);
  runner_.run({&segment, 1}, Guesses::Make);
  EXPECT_FALSE(sequence.caches->draft.has_value());
  EXPECT_EQ(sequence.num_guesses, 0);
}

}  // namespace
}  // namespace fathom::engine
