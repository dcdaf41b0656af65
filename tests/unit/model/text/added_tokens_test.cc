#include "fathom/model/text/added_tokens.h"

#include <gtest/gtest.h>

namespace fathom::text {
namespace {

std::vector<TokenId> ids(const AddedTokens& tokens, std::string_view text) {
  std::vector<TokenId> result;
  for (const ControlSpan& span : tokens.find(text)) {
    result.push_back(span.id);
  }
  return result;
}

TEST(AddedTokens, LeftmostThenLongest) {
  const AddedTokens tokens(
      {{.id = 1, .text = "ab"}, {.id = 2, .text = "abc"}, {.id = 3, .text = "bcd"}});
  EXPECT_EQ(ids(tokens, "xabcdab"), (std::vector<TokenId>{2, 1}));
  EXPECT_EQ(ids(tokens, "abd bcd a"), (std::vector<TokenId>{1, 3}));
  EXPECT_EQ(ids(tokens, ""), std::vector<TokenId>{});
  EXPECT_EQ(tokens.id_of("abc"), 2);
  EXPECT_FALSE(tokens.id_of("abcd").has_value());
  EXPECT_FALSE(tokens.id_of("a").has_value());
}

TEST(AddedTokens, NormalisedOnesAreMatchedInWhatTheOthersLeave) {
  const AddedTokens tokens({{.id = 1, .text = "ab", .is_second = true}, {.id = 2, .text = "bc"}});
  EXPECT_EQ(ids(tokens, "abc ab"), (std::vector<TokenId>{2, 1}));
}

TEST(AddedTokens, SpacesBelongToATokenThatTakesThem) {
  const AddedTokens tokens({{.id = 1, .text = "<m>", .takes_left_spaces = true},
                            {.id = 2, .text = "<r>", .takes_right_spaces = true}});
  const auto spans = tokens.find("a \u3000<m> <r> \n<m>b");
  ASSERT_EQ(spans.size(), 3U);
  EXPECT_EQ(spans[0].begin, 1);
  EXPECT_EQ(spans[0].end, 8);
  EXPECT_EQ(spans[1].begin, 9);
  EXPECT_EQ(spans[1].end, 14);
  EXPECT_EQ(spans[2].begin, 14);  // the spaces are taken already
}

}  // namespace
}  // namespace fathom::text
