#include "fathom/model/text/prompt.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/unit/model/text/text_testing.h"

namespace fathom::text {
namespace {

struct Part {
  std::string_view text;
  bool is_trusted;
};

std::vector<TokenId> encoded(const std::vector<Part>& parts) {
  Prompt prompt;
  for (const Part& part : parts) {
    append(prompt, part.text, part.is_trusted);
  }
  return encode(v4_tokenizer(), prompt);
}

TEST(Prompt, NeighboursOfEqualTrustBecomeOnePart) {
  Prompt prompt;
  append(prompt, "a", true);
  append(prompt, "", false);
  append(prompt, "b", true);
  append(prompt, "c", false);
  ASSERT_EQ(prompt.size(), 2U);
  EXPECT_EQ(prompt[0].text, "ab");
  EXPECT_EQ(text_of(prompt), "abc");
}

TEST(Prompt, OnlyTrustedTextHoldsControlTokens) {
  EXPECT_EQ(encoded({{"<\uff5cUser\uff5c>", true}, {"<\uff5cUser\uff5c>", false}}),
            (std::vector<TokenId>{128803, 30, 28217, 6756, 28217, 32}));
  EXPECT_EQ(encoded({{"<think>", false}}), (std::vector<TokenId>{30, 37947, 32}));
  EXPECT_EQ(encoded({}), std::vector<TokenId>{});
}

TEST(Prompt, PiecesAndMergesCrossSeamsBetweenParts) {
  const Tokenizer& tokenizer = v4_tokenizer();
  const std::string text = "Hello wonderful world, 1234567";
  for (std::size_t i = 0; i <= text.size(); ++i) {
    Prompt prompt;
    append(prompt, "<think>", true);
    append(prompt, text.substr(0, i), true);
    append(prompt, text.substr(i), false);
    std::vector<TokenId> expected = {128821};
    tokenizer.encode(text, ControlTokens::Plain, expected);
    EXPECT_EQ(encode(tokenizer, prompt), expected) << i;
  }
}

TEST(Prompt, AControlTokenIsNotPutTogetherAcrossASeam) {
  EXPECT_EQ(encoded({{"<thi", true}, {"nk>", false}}), (std::vector<TokenId>{30, 37947, 32}));
}

TEST(Prompt, TrustedTextThatIsNotUtf8IsRefused) {
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "not UTF-8", [] {
    encoded({{"a\xff", true}});
  }));
}

}  // namespace
}  // namespace fathom::text
