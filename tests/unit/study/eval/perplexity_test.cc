#include "fathom/study/eval/perplexity.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"

namespace fathom::eval {
namespace {

TEST(Perplexity, ChunksDoNotOverlapAndTheTailIsCounted) {
  const PerplexityPlan plan = plan_perplexity(1050, 512);
  EXPECT_EQ(plan.num_chunks, 2);
  EXPECT_EQ(plan.num_unscored_tail, 26);
  EXPECT_EQ(plan.first_scored_row(), 256);
  EXPECT_EQ(plan.scored_per_chunk(), 255);

  std::vector<std::int32_t> tokens(1050);
  std::iota(tokens.begin(), tokens.end(), 0);
  EXPECT_EQ(chunk_of(plan, tokens, 1, std::nullopt).front(), 512);
  EXPECT_EQ(chunk_of(plan, tokens, 1, std::nullopt).back(), 1023);
  const auto with_bos = chunk_of(plan, tokens, 1, 7);
  EXPECT_EQ(with_bos.front(), 7);
  EXPECT_EQ(with_bos[1], 513);
  EXPECT_EQ(with_bos.size(), 512U);
}

TEST(Perplexity, AnOddChunkScoresItsLargerHalfWithoutTheFirstOfIt) {
  const PerplexityPlan plan = plan_perplexity(7, 7);
  EXPECT_EQ(plan.first_scored_row(), 3);
  EXPECT_EQ(plan.scored_per_chunk(), 3);
}

TEST(Perplexity, TextShorterThanAChunkIsRefused) {
  EXPECT_THROW(plan_perplexity(511, 512), Error);
  EXPECT_THROW(plan_perplexity(100, 3), Error);
  EXPECT_NO_THROW(plan_perplexity(4, 4));
}

TEST(Perplexity, UniformLogitsCostTheLogarithmOfTheirNumber) {
  const std::vector<float> logits(50, 3.0F);
  const double found = negative_log_likelihood(logits, 17);
  EXPECT_NEAR(found, std::log(50.0), 1e-12);
}

TEST(Perplexity, LargeLogitsDoNotOverflow) {
  const std::vector<float> logits = {3e38F, 0.0F};
  EXPECT_EQ(negative_log_likelihood(logits, 0), 0.0);
  EXPECT_TRUE(std::isfinite(negative_log_likelihood(logits, 1)));
}

TEST(Perplexity, ANanLogitShowsInTheResult) {
  const std::vector<float> logits = {1.0F, std::numeric_limits<float>::quiet_NaN(), 2.0F};
  EXPECT_TRUE(std::isnan(negative_log_likelihood(logits, 0)));
}

TEST(RunningMean, MeanAndStandardErrorOfAFewValues) {
  RunningMean mean;
  EXPECT_EQ(mean.standard_error(), 0.0);
  for (const double value :
       {1e9 + 2.0, 1e9 + 4.0, 1e9 + 4.0, 1e9 + 4.0, 1e9 + 5.0, 1e9 + 5.0, 1e9 + 7.0, 1e9 + 9.0}) {
    mean.add(value);
  }
  EXPECT_EQ(mean.count(), 8);
  EXPECT_NEAR(mean.mean(), 1e9 + 5.0, 1e-6);
  EXPECT_NEAR(mean.standard_error(), std::sqrt(32.0 / 7.0 / 8.0), 1e-6);
}

}  // namespace
}  // namespace fathom::eval
