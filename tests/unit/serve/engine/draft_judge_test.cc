#include "fathom/serve/engine/draft_judge.h"

#include <gtest/gtest.h>

namespace fathom::engine {
namespace {

// Steps of `num_decoded` sequences; how many of the last 1,000 made guesses. Guesses cost
// `cost` of a step more and bring `gain` tokens more for each sequence.
int count_guessing_steps(DraftJudge& judge, Index num_decoded, double cost, double gain) {
  int count = 0;
  for (int step = 0; step < 2000; ++step) {
    const bool is_guessing = judge.choose(num_decoded) == Guesses::Make;
    const auto tokens = static_cast<double>(num_decoded) * (1 + (is_guessing ? gain : 0));
    judge.record(num_decoded, static_cast<Index>(100 * tokens), is_guessing ? 0.01 * cost : 0.01);
    count += is_guessing && step >= 1000 ? 1 : 0;
  }
  return count;
}

TEST(DraftJudge, GuessesWhereTheyBringMoreThanTheyCost) {
  DraftJudge judge;
  EXPECT_GT(count_guessing_steps(judge, 1, 1.2, 0.6), 900);
  EXPECT_TRUE(judge.is_worth_keeping());
}

TEST(DraftJudge, StopsWhereTheyCostMoreThanTheyBring) {
  DraftJudge judge;
  EXPECT_LT(count_guessing_steps(judge, 1, 1.5, 0.2), 100);
  EXPECT_FALSE(judge.is_worth_keeping());
}

TEST(DraftJudge, JudgesManySequencesApartFromFew) {
  DraftJudge judge;
  EXPECT_GT(count_guessing_steps(judge, 1, 1.1, 0.6), 900);
  EXPECT_LT(count_guessing_steps(judge, 32, 1.9, 0.6), 100);
  EXPECT_GT(count_guessing_steps(judge, 1, 1.1, 0.6), 900);
  EXPECT_TRUE(judge.is_worth_keeping());
}

TEST(DraftJudge, ChangesItsMindWhenTheTextChanges) {
  DraftJudge judge;
  EXPECT_LT(count_guessing_steps(judge, 4, 1.3, 0.1), 100);
  EXPECT_GT(count_guessing_steps(judge, 4, 1.3, 0.8), 900);
}

TEST(DraftJudge, AfterALongWhileGuessesGetAnotherChance) {
  DraftJudge judge;
  count_guessing_steps(judge, 1, 1.5, 0.2);
  int num_steps = 0;
  while (!judge.is_worth_keeping()) {
    ASSERT_LT(++num_steps, 10'000);
  }
  EXPECT_GT(num_steps, 1000);
  EXPECT_EQ(judge.choose(1), Guesses::Make);
}

}  // namespace
}  // namespace fathom::engine
