#include "fathom/model/text/split_patterns.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::text {
namespace {

// Matches and what lies between them, as a tokenizer isolates them.
std::vector<std::string> pieces(SplitPattern pattern, const std::string& text) {
  std::vector<std::string> result;
  std::size_t position = 0;
  while (position < text.size()) {
    const Found found = scanner_of(pattern)(text, position);
    if (found.begin > position) {
      result.push_back(text.substr(position, found.begin - position));
    }
    if (found.end > found.begin) {
      result.push_back(text.substr(found.begin, found.end - found.begin));
    }
    position = found.end;
  }
  return result;
}

using Pieces = std::vector<std::string>;

TEST(SplitPatterns, ARunOfBlanksGivesItsLastToTheWord) {
  EXPECT_EQ(pieces(SplitPattern::DeepseekWords, "    int"), (Pieces{"   ", " int"}));
  EXPECT_EQ(pieces(SplitPattern::Gpt2Words, "a   b"), (Pieces{"a", "  ", " b"}));
  EXPECT_EQ(pieces(SplitPattern::Gpt2Words, "a   "), (Pieces{"a", "   "}));
  EXPECT_EQ(pieces(SplitPattern::LlamaWords, "\n\tx"), (Pieces{"\n", "\tx"}));
}

TEST(SplitPatterns, NewlinesTakeTheBlanksBeforeThem) {
  EXPECT_EQ(pieces(SplitPattern::DeepseekWords, "  \n  \n"), (Pieces{"  \n  \n"}));
  EXPECT_EQ(pieces(SplitPattern::LlamaWords, " \n  x"), (Pieces{" \n", " ", " x"}));
  EXPECT_EQ(pieces(SplitPattern::Gpt2Words, " \n  x"), (Pieces{" \n ", " x"}));
  EXPECT_EQ(pieces(SplitPattern::DeepseekWords, ">;\n\nx"), (Pieces{">;\n\n", "x"}));
}

TEST(SplitPatterns, PunctuationLeadsAnAsciiWordOnlyInDeepseek) {
  EXPECT_EQ(pieces(SplitPattern::DeepseekWords, "a.b_c-\u00e9"),
            (Pieces{"a", ".b", "_c", "-", "\u00e9"}));
  EXPECT_EQ(pieces(SplitPattern::LlamaWords, "a.b-\u00e9"), (Pieces{"a", ".b", "-\u00e9"}));
}

TEST(SplitPatterns, ContractionsDifferByCase) {
  EXPECT_EQ(pieces(SplitPattern::Gpt2Words, "it's IT'S"), (Pieces{"it", "'s", " IT", "'", "S"}));
  EXPECT_EQ(pieces(SplitPattern::LlamaWords, "IT'S we'll"), (Pieces{"IT", "'S", " we", "'ll"}));
  EXPECT_EQ(pieces(SplitPattern::LlamaWords, "'"), (Pieces{"'"}));
}

TEST(SplitPatterns, DigitsByOneThreeOrAll) {
  EXPECT_EQ(pieces(SplitPattern::ThreeNumbers, "a12345b\u0664"),
            (Pieces{"a", "123", "45", "b", "\u0664"}));
  EXPECT_EQ(pieces(SplitPattern::Number, "12"), (Pieces{"1", "2"}));
  EXPECT_EQ(pieces(SplitPattern::Numbers, "12\u00bd3"), (Pieces{"12\u00bd3"}));
  EXPECT_EQ(pieces(SplitPattern::ThreeDigits, "12345"), (Pieces{"123", "45"}));
  EXPECT_EQ(pieces(SplitPattern::QwenWords, "x12"), (Pieces{"x", "1", "2"}));
  EXPECT_EQ(pieces(SplitPattern::LlamaWords, "x1234"), (Pieces{"x", "123", "4"}));
}

TEST(SplitPatterns, MarksBelongToWordsWhereThePatternSaysSo) {
  EXPECT_EQ(pieces(SplitPattern::DeepseekWords, "e\u0301a"), (Pieces{"e\u0301a"}));
  EXPECT_EQ(pieces(SplitPattern::QwenMarkWords, "e\u0301a"), (Pieces{"e\u0301a"}));
  EXPECT_EQ(pieces(SplitPattern::QwenWords, "e\u0301a"), (Pieces{"e", "\u0301a"}));
}

TEST(SplitPatterns, HanAndKanaOnly) {
  EXPECT_EQ(pieces(SplitPattern::HanKana, "a\u4e2d\u3042\u30fb\uac00"),
            (Pieces{"a", "\u4e2d\u3042\u30fb", "\uac00"}));
  EXPECT_EQ(pieces(SplitPattern::Ideographs, "a\u4e2d\uac00b"), (Pieces{"a", "\u4e2d\uac00", "b"}));
}

TEST(SplitPatterns, TrailingSpacesEndTheTextOrALine) {
  EXPECT_EQ(pieces(SplitPattern::TrailingSpaces, " a b  "), (Pieces{" a b", "  "}));
  EXPECT_EQ(pieces(SplitPattern::TrailingSpaces, "a  \n b"), (Pieces{"a", "  ", "\n b"}));
}

TEST(SplitPatterns, TrailingSpacesLookAtALongRunOnce) {
  std::string text(1'000'000, ' ');
  text.back() = 'x';
  EXPECT_EQ(pieces(SplitPattern::TrailingSpaces, text).size(), 1U);
}

TEST(SplitPatterns, LettersOfTheLatinListAndTheirBlank) {
  EXPECT_EQ(pieces(SplitPattern::LatinLetters, "a \u00e9\u03c9 \u05d0"),
            (Pieces{"a", " \u00e9\u03c9", " \u05d0"}));
  EXPECT_EQ(pieces(SplitPattern::LatinPunctuation, "\u3000\u3001 !"),
            (Pieces{"\u3000\u3001", " !"}));
  EXPECT_EQ(pieces(SplitPattern::LatinPunctuation, "\u3000"), (Pieces{"\u3000"}));
}

TEST(SplitPatterns, AnExpressionIsKnownByItsExactSpelling) {
  EXPECT_TRUE(find_pattern("\\p{N}{1,3}").has_value());
  EXPECT_FALSE(find_pattern("\\p{N}{1,4}").has_value());
  EXPECT_FALSE(find_pattern("").has_value());
}

}  // namespace
}  // namespace fathom::text
