#include "fathom/model/text/utf8.h"

#include <gtest/gtest.h>

#include "fathom/base/formats/text.h"

namespace fathom::text {
namespace {

TEST(Utf8, EveryCodePointIsWrittenAndReadAgain) {
  for (std::uint32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xd800 && code < 0xe000) {
      continue;
    }
    std::string text;
    append_utf8(code, text);
    ASSERT_TRUE(formats::is_utf8(text)) << code;
    ASSERT_EQ(utf8_code(text.data()), code);
    ASSERT_EQ(utf8_length(text.data()), text.size());
    const Utf8Step step = utf8_step(text);
    ASSERT_EQ(step.kind, Utf8Step::Kind::Character);
    ASSERT_EQ(step.num_bytes, text.size());
  }
}

TEST(Utf8, OneReplacementStandsForAMaximalBadSequence) {
  // The cases of the Unicode standard, table 3-8, and what is never the start of a character.
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(repair_utf8("a\xf1\x80\x80\xe1\x80\xc2"
                        "b\x80"
                        "c\x80\xbf"
                        "d"),
            "a" + bad + bad + bad + "b" + bad + "c" + bad + bad + "d");
  EXPECT_EQ(repair_utf8("\xc0\xaf"), bad + bad);            // overlong
  EXPECT_EQ(repair_utf8("\xed\xa0\x80"), bad + bad + bad);  // a surrogate
  EXPECT_EQ(repair_utf8("\xf4\x90\x80\x80"), bad + bad + bad + bad);
  EXPECT_EQ(repair_utf8("x\xe4\xb8"), "x" + bad);
  EXPECT_EQ(repair_utf8("\xe4\xb8\xad"), "\xe4\xb8\xad");
}

TEST(Utf8, ACharacterCutShortIsToldFromABadOne) {
  EXPECT_EQ(utf8_step("\xf0\x9f\x98").kind, Utf8Step::Kind::CutShort);
  EXPECT_EQ(utf8_step("\xf0\x9f\x98").num_bytes, 3U);
  EXPECT_EQ(utf8_step("\xf0\x9f\x98x").kind, Utf8Step::Kind::Bad);
  EXPECT_EQ(utf8_step("\xe0\x80").kind, Utf8Step::Kind::Bad);
  EXPECT_EQ(utf8_step("\xe0\x80").num_bytes, 1U);
}

}  // namespace
}  // namespace fathom::text
