#include "fathom/train/data/words.h"

#include <gtest/gtest.h>

namespace fathom::data {
namespace {

std::vector<std::uint64_t> words(std::string_view text) {
  std::vector<std::uint64_t> hashes;
  append_word_hashes(text, hashes);
  return hashes;
}

TEST(Words, DependOnLettersAndDigitsAlone) {
  EXPECT_EQ(words("Don't PANIC, 42 times."), words("don t\n\npanic 42   TIMES"));
  EXPECT_EQ(words("na\u00efve \u4e2d\u6587").size(), 2U);
  EXPECT_NE(words("one two"), words("two one"));
  EXPECT_NE(words("onetwo"), words("one two"));
  EXPECT_TRUE(words(" ... ").empty());
}

TEST(Words, SqueezedTextHasSingleBlanks) {
  EXPECT_EQ(squeezed("  a \t b\n\n\u00a0c! "), "a b c!");
  EXPECT_EQ(squeezed(" \n"), "");
}

}  // namespace
}  // namespace fathom::data
