#include "fathom/serve/openai/token_texts.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/replay_engine.h"

namespace fathom::openai {
namespace {

using fathom::testing::v4_text_model;

TEST(TokenTexts, EveryIdOfV4HasASpellingOfItsOwn) {
  const TokenTexts texts(v4_text_model().tokenizer);
  std::set<std::string> spellings;
  Index num_bytes = 0;
  for (text::TokenId id = 0; id < 129280; ++id) {
    const std::string spelling = texts.spelling(id);
    EXPECT_TRUE(spellings.insert(spelling).second) << id << " " << spelling;
    num_bytes += spelling.starts_with("bytes:\\x") ? 1 : 0;
  }
  EXPECT_EQ(num_bytes, 1470);  // that are no UTF-8 on their own (text specification 1.1)
}

TEST(TokenTexts, BytesAreSpelledAsTheVendorDoes) {
  const TokenTexts texts(v4_text_model().tokenizer);
  EXPECT_EQ(texts.spelling(19923), "Hello");
  EXPECT_EQ(texts.spelling(1), "<｜end▁of▁sentence｜>");
  Index num_found = 0;
  for (text::TokenId id = 0; id < 129280; ++id) {
    if (texts.bytes(id) == "\xe4\xb8") {
      EXPECT_EQ(texts.spelling(id), "bytes:\\xE4\\xB8");
      ++num_found;
    }
  }
  EXPECT_EQ(num_found, 1);
}

TEST(TokenTexts, AnIdThatIsNoneHasANumber) {
  const TokenTexts texts(v4_text_model().tokenizer);
  EXPECT_EQ(texts.spelling(200000), "token_id:200000");
  EXPECT_EQ(texts.bytes(-1), "");
}

}  // namespace
}  // namespace fathom::openai
