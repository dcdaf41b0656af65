#include "fathom/train/loop/piece_batch.h"

#include <limits>

#include <gtest/gtest.h>

#include "fathom/compute/runtime/runtime.h"

#include "tests/support/expect_error.h"

namespace fathom::train {
namespace {

data::Batch make_batch() {
  return {.tokens = {1, 2, 3, 4, 5},
          .targets = {2, 3, 9, 5, 6},
          .loss_weights = {1, 0, 1, 0.5F, 1},
          .piece_tokens = {3, 2}};
}

config::ModelConfig make_config() {
  config::ModelConfig config;
  config.vocab_size = 10;
  config.max_context = 4;
  return config;
}

TEST(CheckBatch, NamesTheRowOrThePieceThatIsWrong) {
  EXPECT_NO_THROW(check_batch(make_batch(), make_config()));
  const auto refuse = [](const char* part, const auto& change) {
    data::Batch batch = make_batch();
    change(batch);
    EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, part,
                                    [&] { check_batch(batch, make_config()); }));
  };
  refuse("4 targets, expected 5", [](auto& batch) { batch.targets.pop_back(); });
  refuse("6 loss weights, expected 5", [](auto& batch) { batch.loss_weights.push_back(1); });
  refuse("pieces of 6 tokens, expected 5", [](auto& batch) { batch.piece_tokens = {3, 3}; });
  refuse("piece 1: 0 tokens, expected 1 to 4", [](auto& batch) { batch.piece_tokens = {3, 0, 2}; });
  refuse("piece 0: 5 tokens, expected 1 to 4", [](auto& batch) { batch.piece_tokens = {5}; });
  refuse("row 2: token id 10, expected 0 to 9", [](auto& batch) { batch.tokens[2] = 10; });
  refuse("row 0: target -1, expected 0 to 9", [](auto& batch) { batch.targets[0] = -1; });
  refuse("row 3: loss weight -1", [](auto& batch) { batch.loss_weights[3] = -1; });
  refuse("row 4: loss weight nan",
         [](auto& batch) { batch.loss_weights[4] = std::numeric_limits<float>::quiet_NaN(); });
  refuse("row 4: loss weight inf",
         [](auto& batch) { batch.loss_weights[4] = std::numeric_limits<float>::infinity(); });
}

TEST(CheckBatch, TargetsThatDoNotCountMayBeAnything) {
  data::Batch batch = make_batch();
  batch.targets[1] = -100;
  EXPECT_NO_THROW(check_batch(batch, make_config()));
}

TEST(CheckBatch, RefusesABatchOfNothing) {
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "at least 1",
                                  [] { check_batch(data::Batch{}, make_config()); }));
}

TEST(PieceBatch, HasASegmentFromPositionZeroForEveryPiece) {
  const data::Batch batch = make_batch();
  runtime::Runtime runtime({.num_threads = 1, .backend = "reference"});
  const PieceBatch pieces(runtime.context(), {}, batch.tokens, batch.piece_tokens);
  const layers::TokenBatch& step = pieces.step();
  EXPECT_EQ(std::vector<Index>(step.positions.begin(), step.positions.end()),
            (std::vector<Index>{0, 1, 2, 0, 1}));
  ASSERT_EQ(step.segments.size(), 2U);
  EXPECT_EQ(step.segments[1].first_row, 3);
  EXPECT_NE(step.segments[0].kv, step.segments[1].kv);
}

}  // namespace
}  // namespace fathom::train
