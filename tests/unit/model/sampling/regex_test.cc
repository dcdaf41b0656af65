// Under sanitisers g++ 12 takes moves inside std::regex for uses of uninitialised memory.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <algorithm>
#include <random>
#include <regex>
#include <string>

#include <gtest/gtest.h>

#include "fathom/model/sampling/front_ends.h"

#include "tests/support/accepts.h"
#include "tests/support/expect_error.h"

namespace fathom::sampling {
namespace {

using testing::accepts;
using testing::fails_with;

bool matches(std::string_view pattern, std::string_view text) {
  return accepts(parse_regex(pattern), text);
}

std::string random_pattern(std::mt19937& random, int depth) {
  const auto pick = [&](unsigned count) { return static_cast<unsigned>(random() % count); };
  switch (depth == 0 ? pick(4) : pick(9)) {
    case 0:
      return "a";
    case 1:
      return "b";
    case 2:
      return ".";
    case 3:
      return pick(2) == 0 ? "[ab]" : "[^a]";
    case 4:
      return "(" + random_pattern(random, depth - 1) + "|" + random_pattern(random, depth - 1) +
             ")";
    case 5:
      return "(?:" + random_pattern(random, depth - 1) + ")" +
             std::string(
                 std::vector<const char*>{"*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"}[pick(7)]);
    default:
      return random_pattern(random, depth - 1) + random_pattern(random, depth - 1);
  }
}

TEST(Regex, AgreesWithTheStandardLibraryOnRandomPatternsAndAllShortTexts) {
  std::mt19937 random(17);
  std::vector<std::string> texts = {""};
  for (std::size_t i = 0; texts[i].size() < 6; ++i) {
    for (const char letter : {'a', 'b'}) {
      texts.push_back(texts[i] + letter);
    }
  }
  for (int round = 0; round < 400; ++round) {
    const std::string pattern = random_pattern(random, 4);
    Automaton automaton(parse_regex(pattern));
    const std::regex reference(pattern);
    for (const std::string& text : texts) {
      ASSERT_EQ(accepts(automaton, text), std::regex_match(text, reference))
          << pattern << " " << text;
    }
  }
}

TEST(Regex, KnowsEscapesClassesAndUnicode) {
  EXPECT_TRUE(matches(R"(\d{4}-\d\d)", "2026-11"));
  EXPECT_FALSE(matches(R"(\d)", "\u0663"));  // ECMA: ASCII digits only
  EXPECT_TRUE(matches(R"([\w.+-]+@\w+\.com)", "a.b+c@x.com"));
  EXPECT_TRUE(matches(R"([\u4e00-\u9fff]{2})", "中文"));
  EXPECT_FALSE(matches(R"([\u4e00-\u9fff]{2})", "中a"));
  EXPECT_TRUE(matches(R"(\u{1F600}|\uD83D\uDE01)", "😀"));
  EXPECT_TRUE(matches(R"(\uD83D\uDE01)", "😁"));
  EXPECT_TRUE(matches(".", "é"));
  EXPECT_FALSE(matches(".", "\n"));
  EXPECT_TRUE(matches("[^x]", "\n"));
  EXPECT_TRUE(matches(R"([\]\-a])", "-"));
  EXPECT_TRUE(matches("[a-]", "-"));
  EXPECT_TRUE(matches(R"(\x41\t\.)", "A\t."));
  EXPECT_TRUE(matches("^abc$", "abc"));
  EXPECT_TRUE(matches("(?<year>a)(?P<x>b)", "ab"));
  EXPECT_TRUE(matches("", ""));
  EXPECT_FALSE(matches("", "a"));
}

TEST(Regex, CountsWithoutUnrollingAndCapsNothingInBetween) {
  Automaton automaton(parse_regex("(ab){3,100000}"));
  std::string text;
  for (int count = 1; count <= 5; ++count) {
    text += "ab";
    EXPECT_EQ(accepts(automaton, text), count >= 3);
  }
  Automaton exact(parse_regex("x{1000}"));
  EXPECT_TRUE(accepts(exact, std::string(1000, 'x')));
  EXPECT_FALSE(accepts(exact, std::string(999, 'x')));
  EXPECT_FALSE(testing::is_beginning(exact, std::string(1001, 'x')));
  Automaton open(parse_regex("(x|yy){5,}"));
  EXPECT_FALSE(accepts(open, "xyyxx"));
  EXPECT_TRUE(accepts(open, "xyyxxyy"));
  EXPECT_TRUE(accepts(open, std::string(5000, 'x')));
}

TEST(Regex, ErrorsSayWhatAndWhere) {
  const auto refuses = [](std::string_view pattern, ErrorCode code, const std::string& part) {
    return fails_with(code, part, [&] { parse_regex(pattern); });
  };
  const auto invalid = ErrorCode::InvalidArgument;
  const auto unsupported = ErrorCode::Unsupported;
  EXPECT_TRUE(refuses("(a", invalid, "regex: expected ) at byte 2 of \"(a\""));
  EXPECT_TRUE(refuses("a)", invalid, "without its ("));
  EXPECT_TRUE(refuses("[a", invalid, "expected ]"));
  EXPECT_TRUE(refuses("[a-", invalid, "expected ]"));
  EXPECT_TRUE(refuses("[b-a]", invalid, "ends before it begins"));
  EXPECT_TRUE(refuses("*a", invalid, "repetition of nothing"));
  EXPECT_TRUE(refuses("a**", invalid, "two repetitions"));
  EXPECT_TRUE(refuses("a{3,2}", invalid, "smaller than the first"));
  EXPECT_TRUE(refuses("a{x}", invalid, "expected a count"));
  EXPECT_TRUE(refuses("a\\", invalid, "after the backslash"));
  EXPECT_TRUE(refuses("\\ud800", invalid, "no Unicode character"));
  EXPECT_TRUE(refuses("a\xFF", invalid, "expected UTF-8"));
  EXPECT_TRUE(refuses("(a)\\1", unsupported, "not supported"));
  EXPECT_TRUE(refuses("(?=a)b", unsupported, "look-around"));
  EXPECT_TRUE(refuses("(?<!a)b", unsupported, "look-around"));
  EXPECT_TRUE(refuses("\\bword", unsupported, "not supported"));
  EXPECT_TRUE(refuses("\\p{L}", unsupported, "not supported"));
  EXPECT_TRUE(refuses("a^b", unsupported, "^"));
  EXPECT_TRUE(refuses("a$b", unsupported, "$"));
  EXPECT_TRUE(refuses("a{1000001}", unsupported, "1,000,000"));
  EXPECT_TRUE(refuses(std::string(5000, '(') + "a", unsupported, "deeper than 100"));
  EXPECT_TRUE(refuses(std::string(2'000'000, 'a'), invalid, "at most"));
}

TEST(Regex, HostilePatternsAnswerFast) {
  for (const char* pattern : {"(a+)+b", "(a|a)*b", "((a{1,1000}){1,1000}){1,1000}", "(a*)*b",
                              "(x+x+)+y", "(.*)(.*)(.*)(.*)(.*)z", ".*a.{20}"}) {
    Automaton automaton(parse_regex(pattern));
    EXPECT_TRUE(testing::is_beginning(automaton, std::string(3, pattern[1] == 'x' ? 'x' : 'a')));
  }
}

}  // namespace
}  // namespace fathom::sampling
