#include "fathom/train/data/quality.h"

#include <string>

#include <gtest/gtest.h>

namespace fathom::data {
namespace {

TEST(Quality, WithoutLimitsOnlyEmptyTextIsRefused) {
  EXPECT_EQ(judge("x", {}), std::nullopt);
  EXPECT_EQ(judge("", {}), Refusal::TooShort);
  EXPECT_EQ(judge(" \n", {}), Refusal::TooShort);
}

TEST(Quality, LengthsAreInCharacters) {
  EXPECT_EQ(judge("\u00e4\u00f6\u00fc", {.min_characters = 3}), std::nullopt);
  EXPECT_EQ(judge("\u00e4\u00f6\u00fc", {.min_characters = 4}), Refusal::TooShort);
  EXPECT_EQ(judge("abcd", {.max_characters = 4}), std::nullopt);
  EXPECT_EQ(judge("abcde", {.max_characters = 4}), Refusal::TooLong);
}

TEST(Quality, SharesAreOfWhatIsVisible) {
  // Six letters of eight visible characters.
  EXPECT_EQ(judge("abc def 12", {.min_letters = 0.75}), std::nullopt);
  EXPECT_EQ(judge("abc def 12", {.min_letters = 0.76}), Refusal::FewLetters);
  // Two symbols of eight; a comma is none.
  EXPECT_EQ(judge("ab, cd{}1", {.max_symbols = 0.25}), std::nullopt);
  EXPECT_EQ(judge("ab, cd{}1", {.max_symbols = 0.24}), Refusal::ManySymbols);
}

TEST(Quality, RepeatedLinesCountFromTheSecondOn) {
  const std::string text = "same\nother\nsame\n\n\n";  // 4 of 13
  EXPECT_EQ(judge(text, {.max_repeated_lines = 0.31}), std::nullopt);
  EXPECT_EQ(judge(text, {.max_repeated_lines = 0.3}), Refusal::RepeatedLines);
}

TEST(Quality, WordsHaveAMeanLength) {
  EXPECT_EQ(judge("abcd ab", {.max_word_characters = 3}), std::nullopt);
  EXPECT_EQ(judge("abcd abc", {.max_word_characters = 3}), Refusal::LongWords);
}

TEST(Quality, ProseIsKeptAndTablesAreNot) {
  std::string prose;
  for (int i = 0; i < 8; ++i) {
    prose += "It was the year " + std::to_string(1800 + i) + ", and nobody had seen the coast.\n";
  }
  EXPECT_EQ(judge(prose, QualityLimits::prose()), std::nullopt);
  std::string table;
  for (int i = 0; i < 40; ++i) {
    table += "| 0x" + std::to_string(i * 37) + " | == | {} |\n";
  }
  EXPECT_NE(judge(table, QualityLimits::prose()), std::nullopt);
}

TEST(Quality, EveryRefusalHasItsRow) {
  for (std::size_t i = 0; i < std::size(kRefusals); ++i) {
    EXPECT_EQ(static_cast<std::size_t>(kRefusals[i].refusal), i);
  }
}

}  // namespace
}  // namespace fathom::data
