#include "fathom/model/sampling/token_history.h"

#include <vector>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"

namespace fathom::sampling {
namespace {

TEST(TokenHistory, CountsReplyTokensAndRemembersThePrompt) {
  TokenHistory history;
  history.add_prompt(std::vector<TokenId>{5, 6, 5});
  history.add_reply(5);
  history.add_reply(9);
  history.add_reply(9);
  ASSERT_EQ(history.entries().size(), 3U);
  EXPECT_TRUE(history.entries()[0].is_in_prompt);
  EXPECT_EQ(history.entries()[0].num_in_reply, 1);
  EXPECT_EQ(history.entries()[1].num_in_reply, 0);
  EXPECT_FALSE(history.entries()[2].is_in_prompt);
  EXPECT_EQ(history.entries()[2].num_in_reply, 2);
}

TEST(TokenHistory, TakesBackWhatWasAddedAndNothingElse) {
  TokenHistory history;
  history.add_reply(3);
  history.remove_reply(3);
  EXPECT_EQ(history.entries()[0].num_in_reply, 0);
  EXPECT_THROW(history.remove_reply(3), Error);
}

}  // namespace
}  // namespace fathom::sampling
