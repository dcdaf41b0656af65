#include "fathom/model/text/prompt.h"

#include <gtest/gtest.h>

namespace fathom::text {
namespace {

TEST(PromptParts, NeighboursOfEqualTrustBecomeOnePart) {
  Prompt prompt;
  append(prompt, "a", true);
  append(prompt, "b", true);
  append(prompt, "", false);
  append(prompt, "c", false);
  append(prompt, "d", false);
  append(prompt, "e", true);
  ASSERT_EQ(prompt.size(), 3U);
  EXPECT_EQ(prompt[0].text, "ab");
  EXPECT_TRUE(prompt[0].is_trusted);
  EXPECT_EQ(prompt[1].text, "cd");
  EXPECT_FALSE(prompt[1].is_trusted);
  EXPECT_EQ(text_of(prompt), "abcde");
}

}  // namespace
}  // namespace fathom::text
