#include "fathom/train/loop/objective.h"

#include <gtest/gtest.h>

namespace fathom::train {
namespace {

TEST(LossSums, AddUpWithListsOfDifferentLengths) {
  LossSums sums;
  LossSums batch;
  batch.loss = 3;
  batch.weight = 2;
  batch.mtp_loss = 5;
  batch.balance_loss = 0.5;
  batch.indexer_loss = 0.25;
  batch.expert_tokens = {{1, 2}, {}, {3}};
  sums.add(batch);
  batch.expert_tokens = {{1, 1, 1}, {4}};
  sums.add(batch);
  EXPECT_EQ(sums.loss, 6);
  EXPECT_EQ(sums.weight, 4);
  EXPECT_EQ(sums.mtp_loss, 10);
  EXPECT_EQ(sums.balance_loss, 1);
  EXPECT_EQ(sums.indexer_loss, 0.5);
  EXPECT_EQ(sums.expert_tokens, (std::vector<std::vector<double>>{{2, 3, 1}, {4}, {3}}));
}

}  // namespace
}  // namespace fathom::train
