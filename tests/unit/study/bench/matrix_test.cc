#include "fathom/study/bench/matrix.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::bench {
namespace {

TEST(Matrix, DefaultIsEveryPromptAndEveryContextWithEveryBatch) {
  const Plan plan = plan_cells({}, 1 << 20);
  ASSERT_EQ(plan.cells.size(), 3U + 9U);
  EXPECT_TRUE(plan.skipped.empty());
  EXPECT_EQ(plan.cells[1], (Cell{.phase = Phase::Prefill, .tokens = 512}));
  EXPECT_EQ(plan.cells[3], (Cell{.phase = Phase::Decode, .tokens = 128, .context = 0, .batch = 1}));
  EXPECT_EQ(plan.cells[11],
            (Cell{.phase = Phase::Decode, .tokens = 128, .context = 32768, .batch = 16}));
}

TEST(Matrix, GivenListsReplaceTheDefaults) {
  const Plan plan = plan_cells(
      {.prompts = {7}, .decode_tokens = 3, .contexts = {100}, .batches = {2, 1}}, 1 << 20);
  const std::vector<Cell> expected = {
      {.phase = Phase::Prefill, .tokens = 7},
      {.phase = Phase::Decode, .tokens = 3, .context = 100, .batch = 2},
      {.phase = Phase::Decode, .tokens = 3, .context = 100, .batch = 1}};
  EXPECT_EQ(plan.cells, expected);
}

TEST(Matrix, CellsThatDoNotFitIntoTheContextAreSkippedWithTheReason) {
  const Plan plan = plan_cells(
      {.prompts = {192, 193}, .decode_tokens = 128, .contexts = {0, 65}, .batches = {4}}, 192);
  // 64 tokens, then 128 more: just fits. The batch takes nothing of a sequence's context.
  ASSERT_EQ(plan.cells.size(), 2U);
  EXPECT_EQ(plan.cells[0].tokens, 192);
  EXPECT_EQ(plan.cells[1].context, 0);
  ASSERT_EQ(plan.skipped.size(), 2U);
  EXPECT_EQ(plan.skipped[0].cell.tokens, 193);
  EXPECT_EQ(plan.skipped[1].cell.context, 65);
  EXPECT_EQ(plan.skipped[1].reason, "takes 193 tokens of context, the model has 192");
}

TEST(Matrix, NumbersThatMeanNothingAreRefusedByTheirOption) {
  const auto refused = [](const Matrix& matrix, const std::string& part) {
    return testing::fails_with(ErrorCode::InvalidArgument, part,
                               [&] { plan_cells(matrix, 1 << 20); });
  };
  EXPECT_TRUE(refused({.prompts = {128, 0}}, "--prompt: found 0, expected at least 1"));
  EXPECT_TRUE(refused({.prompts = {}}, "--prompt: expected at least one number"));
  EXPECT_TRUE(refused({.decode_tokens = 0}, "--decode: found 0, expected at least 1"));
  EXPECT_TRUE(refused({.contexts = {-1}}, "--context: found -1, expected at least 0"));
  EXPECT_TRUE(refused({.batches = {1, 0}}, "--batch: found 0, expected at least 1"));
  EXPECT_TRUE(refused({.batches = {4, 1, 4}}, "--batch: 4 is listed twice"));
}

TEST(Matrix, CellsAreDescribedInWords) {
  EXPECT_EQ(describe({.phase = Phase::Prefill, .tokens = 512}), "prefill 512");
  EXPECT_EQ(describe({.phase = Phase::Decode, .tokens = 128, .context = 4096, .batch = 4}),
            "decode 128 at 4096, batch 4");
}

TEST(Matrix, DecodingBeginsBehindTheContextOrAFewTokens) {
  EXPECT_EQ(tokens_before({.phase = Phase::Prefill, .tokens = 512}), 0);
  EXPECT_EQ(tokens_before({.phase = Phase::Decode, .tokens = 1, .context = 0}), 64);
  EXPECT_EQ(tokens_before({.phase = Phase::Decode, .tokens = 1, .context = 65}), 65);
}

}  // namespace
}  // namespace fathom::bench
