#include "fathom/model/sampling/generation.h"

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::sampling {
namespace {

constexpr Index kVocab = 6;
constexpr TokenId kStop = 0;
constexpr TokenId kEndOfThink = 5;

// "", "a", "b", "c", "ab", and a control token.
ConstraintVocabularyPtr vocabulary() {
  static const auto kVocabulary = std::make_shared<const ConstraintVocabulary>(
      std::vector<std::string>{"", "a", "b", "c", "ab", ""}, std::vector<TokenId>{kStop});
  return kVocabulary;
}

GenerationOptions greedy(Index max_tokens) {
  GenerationOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = max_tokens;
  options.stop_ids = {kStop};
  return options;
}

// Logits that like `best` most, then the others by their id, the highest first.
std::vector<float> liking(TokenId best) {
  std::vector<float> logits = {0, 1, 2, 3, 4, 5};
  logits[static_cast<std::size_t>(best)] = 10;
  return logits;
}

std::vector<TokenId> run(Generation& generation, const std::vector<TokenId>& likes) {
  std::vector<TokenId> ids;
  for (const TokenId best : likes) {
    ids.push_back(generation.next(liking(best)).id);
    if (generation.finish_reason()) {
      break;
    }
  }
  return ids;
}

TEST(Generation, AStopTokenEndsTheReply) {
  Generation generation(greedy(10), kVocab, {});
  EXPECT_EQ(run(generation, {3, 1, kStop, 2}), (std::vector<TokenId>{3, 1, kStop}));
  EXPECT_EQ(generation.finish_reason(), FinishReason::Stop);
  EXPECT_EQ(generation.num_tokens(), 3);
}

TEST(Generation, TheLimitOfTokensEndsTheReply) {
  Generation generation(greedy(2), kVocab, {});
  EXPECT_EQ(run(generation, {3, 1, 2}), (std::vector<TokenId>{3, 1}));
  EXPECT_EQ(generation.finish_reason(), FinishReason::Length);
}

TEST(Generation, AStopTokenAtTheLimitIsAStop) {
  Generation generation(greedy(1), kVocab, {});
  run(generation, {kStop});
  EXPECT_EQ(generation.finish_reason(), FinishReason::Stop);
}

TEST(Generation, BannedTokensAreNeverChosen) {
  GenerationOptions options = greedy(5);
  options.banned_ids = {kEndOfThink, 4};
  Generation generation(options, kVocab, {});
  EXPECT_EQ(run(generation, {4, 5}), (std::vector<TokenId>{3, 3}));
}

TEST(Generation, AConstraintHoldsFromTheBeginning) {
  GenerationOptions options = greedy(10);
  options.constraint = compile_regex("(ab|c)c", vocabulary());
  Generation generation(options, kVocab, {});
  // b is not allowed at first: the best allowed one is "ab"; then only c, then only the end.
  EXPECT_EQ(run(generation, {2, 1, 1}), (std::vector<TokenId>{4, 3, kStop}));
  EXPECT_FALSE(generation.is_constraint_released());
}

TEST(Generation, AConstraintWaitsForTheEndOfReasoning) {
  GenerationOptions options = greedy(10);
  options.constraint = compile_regex("ca", vocabulary());
  options.constraint_begins_after = kEndOfThink;
  Generation generation(options, kVocab, {});
  EXPECT_EQ(run(generation, {2, 2, kEndOfThink, 2, 2, 2}),
            (std::vector<TokenId>{2, 2, kEndOfThink, 3, 1, kStop}));
}

TEST(Generation, ADeadEndReleasesTheConstraintAndSaysSo) {
  GenerationOptions options = greedy(3);
  options.constraint = compile_regex("cx", vocabulary());  // no token spells x
  Generation generation(options, kVocab, {});
  EXPECT_EQ(run(generation, {2, 2, 1}), (std::vector<TokenId>{3, 2, 1}));
  EXPECT_TRUE(generation.is_constraint_released());
}

TEST(Generation, ForcedTokensComeBeforeTheConstraint) {
  GenerationOptions options = greedy(10);
  options.constraint = compile_regex("ca", vocabulary());
  options.constraint_begins_after = kEndOfThink;
  options.forced_ids = {2, 4};
  Generation generation(options, kVocab, {});
  EXPECT_EQ(run(generation, {1, kEndOfThink, 1, 1, 1, 1, 1}),
            (std::vector<TokenId>{1, kEndOfThink, 2, 4, 3, 1, kStop}));
  EXPECT_FALSE(generation.is_constraint_released());
}

TEST(Generation, ForcedTokensNeedNoConstraint) {
  GenerationOptions options = greedy(4);
  options.forced_ids = {2, 4};
  Generation generation(options, kVocab, {});
  EXPECT_EQ(run(generation, {1, 1, 1, 1}), (std::vector<TokenId>{2, 4, 1, 1}));
}

TEST(Generation, AConstraintOfTheBeginningLeavesTheRestFree) {
  GenerationOptions options = greedy(4);
  options.constraint = compile_regex("(ab|c)c", vocabulary());
  options.is_constraint_prefix = true;
  Generation generation(options, kVocab, {});
  EXPECT_EQ(run(generation, {2, 1, 1, 2}), (std::vector<TokenId>{4, 3, 1, 2}));
  EXPECT_FALSE(generation.is_constraint_released());
}

TEST(Generation, TheWayAroundAConstraintIsOpenAtItsBeginningOnly) {
  GenerationOptions options = greedy(6);
  options.constraint = compile_regex("ca", vocabulary());
  options.bypass_ids = {2, 5};
  // All of the way: free from there on.
  Generation around(options, kVocab, {});
  EXPECT_EQ(run(around, {2, 1, 2, 2, 4, kStop}), (std::vector<TokenId>{2, 5, 2, 2, 4, kStop}));
  EXPECT_FALSE(around.is_constraint_released());
  // Not taken: closed.
  Generation through(options, kVocab, {});
  EXPECT_EQ(run(through, {3, 2, 5}), (std::vector<TokenId>{3, 1, kStop}));
}

TEST(Generation, TheWayAroundMayBeginAsTheConstraintDoes) {
  GenerationOptions options = greedy(6);
  options.constraint = compile_regex("ca", vocabulary());
  options.bypass_ids = {3, 5};
  Generation through(options, kVocab, {});
  EXPECT_EQ(run(through, {3, 1, 2}), (std::vector<TokenId>{3, 1, kStop}));
  Generation around(options, kVocab, {});
  EXPECT_EQ(run(around, {3, 5, 2, kStop}), (std::vector<TokenId>{3, 5, 2, kStop}));
}

constexpr TokenId kMark = 5;
constexpr Index kCallVocab = 8;

// The end, two texts with an angle, and what a call of `f` is made of.
ConstraintVocabularyPtr call_vocabulary() {
  static const auto kVocabulary = std::make_shared<const ConstraintVocabulary>(
      std::vector<std::string>{"", "<", "x<", "calls>\n<", "invoke name=\"f\">\n\n</", "",
                               "invoke>\n</", "calls>"},
      std::vector<TokenId>{kStop}, kMark);
  return kVocabulary;
}

GenerationOptions greedy_with_calls(Index max_tokens) {
  GenerationOptions options = greedy(max_tokens);
  const CallMarkup markup = {
      .mark = "MARK", .calls = "calls", .invoke = "invoke", .parameter = "parameter"};
  const std::vector<CallableTool> tools = {{.name = "f", .parameters = "{}", .where = ""}};
  options.call_constraint = compile_tool_calls(markup, tools, call_vocabulary());
  return options;
}

std::vector<TokenId> run_calls(const GenerationOptions& options,
                               const std::vector<TokenId>& likes) {
  Generation generation(options, kCallVocab, {});
  std::vector<TokenId> ids;
  for (const TokenId best : likes) {
    std::vector<float> logits = {0, 1, 2, 3, 4, 5, 6, 7};
    logits[static_cast<std::size_t>(best)] = 10;
    ids.push_back(generation.next(logits).id);
    if (generation.finish_reason()) {
      break;
    }
  }
  EXPECT_FALSE(generation.is_constraint_released());
  return ids;
}

TEST(Generation, ACallBeginsBehindAnAngleOnlyAndIsHeldFromThereOn) {
  // The mark is wanted at once, and comes behind "x<"; from there on there is little choice.
  EXPECT_EQ(run_calls(greedy_with_calls(20), {kMark, 2, kMark, 3, 1, 1, 1, 1, 1, 1, 1}),
            (std::vector<TokenId>{7, 2, kMark, 3, kMark, 4, kMark, 6, kMark, 7, kStop}));
}

TEST(Generation, ACallThatTakesTheWayAroundAConstraintIsHeld) {
  GenerationOptions options = greedy_with_calls(4);
  options.constraint = compile_regex("x<", call_vocabulary());
  options.bypass_ids = {1, kMark};
  EXPECT_EQ(run_calls(options, {1, 1, 3, 1}), (std::vector<TokenId>{1, kMark, 3, kMark}));
  EXPECT_EQ(run_calls(options, {2, kMark}), (std::vector<TokenId>{2, kStop}));
}

TEST(Generation, ForcedTokensMayBeginTheCallThatIsHeld) {
  GenerationOptions options = greedy_with_calls(6);
  options.constraint_begins_after = 2;
  options.forced_ids = {1, kMark, 3};
  options.banned_ids_before_turn = {kStop, kMark};
  // Before its turn neither the end nor a call may come, behind an angle or not.
  EXPECT_EQ(run_calls(options, {kStop, 2, 7, 7, 7, 7}),
            (std::vector<TokenId>{7, 2, 1, kMark, 3, kMark}));
  EXPECT_EQ(run_calls(options, {1, kMark, 2, kStop}), (std::vector<TokenId>{1, 7, 2, 1}));
}

TEST(Generation, ACallOfThePromptIsHeldFromTheBeginning) {
  GenerationOptions options = greedy_with_calls(3);
  options.begun_call = "calls>\n<" + std::string(kCallMark);
  EXPECT_EQ(run_calls(options, {kStop, 1, 1}), (std::vector<TokenId>{4, kMark, 6}));
}

TEST(Generation, LogitsBeyondTheVocabularyOfAConstraintAreNotAllowed) {
  GenerationOptions options = greedy(1);
  options.constraint = compile_regex("a", vocabulary());
  Generation generation(options, 40, {});
  std::vector<float> logits(40, 0.0F);
  logits[33] = 9;
  EXPECT_EQ(generation.next(logits).id, 1);
}

TEST(Generation, TheSameSeedGivesTheSameReply) {
  GenerationOptions options = greedy(50);
  options.sampling.temperature = 2;
  options.sampling.seed = 7;
  options.stop_ids = {};
  Generation first(options, kVocab, {});
  Generation second(options, kVocab, {});
  const std::vector<TokenId> likes(50, 3);
  const std::vector<TokenId> ids = run(first, likes);
  EXPECT_EQ(ids, run(second, likes));
  options.sampling.seed = 8;
  Generation third(options, kVocab, {});
  EXPECT_NE(ids, run(third, likes));
}

TEST(Generation, LogprobsAreThoseOfTheModel) {
  GenerationOptions options = greedy(1);
  options.sampling.num_top_logprobs = 2;
  options.banned_ids = {3};
  Generation generation(options, kVocab, {});
  const Picked& picked = generation.next(liking(3));
  ASSERT_EQ(picked.logprobs.top.size(), 2U);
  EXPECT_EQ(picked.logprobs.top[0].id, 3);
  EXPECT_EQ(picked.logprobs.top[1].id, picked.id);
  EXPECT_EQ(picked.logprobs.top[1].logprob, picked.logprobs.logprob);
}

TEST(Generation, LogprobsThatNobodyWantsAreNotComputed) {
  Generation generation(greedy(1), kVocab, {});
  const Picked& picked = generation.next(liking(3));
  EXPECT_EQ(picked.id, 3);
  EXPECT_EQ(picked.logprobs.logprob, 0);
  EXPECT_TRUE(picked.logprobs.top.empty());
}

TEST(Generation, NoTokensAndNoNumbersAreRefused) {
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "max_tokens",
                                  [] { Generation generation(greedy(0), kVocab, {}); }));
  Generation generation(greedy(1), kVocab, {});
  std::vector<float> logits = liking(1);
  logits[2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "logit", [&] { generation.next(logits); }));
}

}  // namespace
}  // namespace fathom::sampling
