#include <random>

#include <gtest/gtest.h>

#include "fathom/base/formats/text.h"

#include "tests/unit/model/text/text_testing.h"

namespace fathom::text {
namespace {

TEST(TextStream, ACharacterComesOutWhenItIsComplete) {
  const auto tokenizer = parse(small_document({}));
  TextStream stream(*tokenizer);
  EXPECT_EQ(stream.push(0xe4), "");
  EXPECT_EQ(stream.push(0xb8), "");
  EXPECT_EQ(stream.push(0xad), "\xe4\xb8\xad");
  EXPECT_EQ(stream.push('a'), "a");
  EXPECT_EQ(stream.push(0xe4), "");
  EXPECT_EQ(stream.push('b'),
            "\xef\xbf\xbd"
            "b");
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(stream.push(0xf0), "");
  EXPECT_EQ(stream.finish(), "\xef\xbf\xbd");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, RandomIdsNeverBecomeBrokenTextAndEqualTheWholeDecoded) {
  const Tokenizer& tokenizer = v4_tokenizer();
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::vector<TokenId> ids;
    TextStream stream(tokenizer);
    std::string text;
    for (int i = 0; i < 200; ++i) {
      // Low ids are single bytes: most are no character of their own.
      const Index limit = random() % 2 == 0 ? 259 : tokenizer.num_ids();
      ids.push_back(static_cast<TokenId>(static_cast<Index>(random()) % limit));
      const std::string piece = stream.push(ids.back());
      ASSERT_TRUE(formats::is_utf8(piece));
      text += piece;
    }
    text += stream.finish();
    ASSERT_EQ(text, decode(tokenizer, ids));
    ASSERT_TRUE(formats::is_utf8(text));
  }
}

}  // namespace
}  // namespace fathom::text
