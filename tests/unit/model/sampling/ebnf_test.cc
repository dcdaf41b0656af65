#include <gtest/gtest.h>

#include "fathom/model/sampling/front_ends.h"

#include "tests/support/accepts.h"
#include "tests/support/expect_error.h"

namespace fathom::sampling {
namespace {

using testing::accepts;
using testing::fails_with;

TEST(Ebnf, ReadsRulesAcrossLinesWithComments) {
  const std::string_view text = R"gbnf(# arithmetic
root ::= sum   # the whole
sum ::= product (("+" | "-") product)*
product ::= factor
  | factor [*/] product
factor ::= [0-9]+ | "(" sum
  ")"
)gbnf";
  Automaton automaton(parse_ebnf(text));
  for (const char* good : {"1", "1+2", "12*(3-4)/5", "((((7))))"}) {
    EXPECT_TRUE(accepts(automaton, good)) << good;
  }
  for (const char* bad : {"", "1+", "(1", "1)", "a", "1++2"}) {
    EXPECT_FALSE(accepts(automaton, bad)) << bad;
  }
}

TEST(Ebnf, MatchesWhatNoRegularExpressionCan) {
  Automaton automaton(parse_ebnf(R"(root ::= "a" root "b" | "")"));
  for (std::size_t a = 0; a < 20; ++a) {
    for (std::size_t b = 0; b < 20; ++b) {
      EXPECT_EQ(accepts(automaton, std::string(a, 'a') + std::string(b, 'b')), a == b);
    }
  }
}

TEST(Ebnf, KnowsEscapesClassesCountsAndAnyCharacter) {
  Automaton automaton(
      parse_ebnf(R"(root ::= "\"\\\n\x41" [^a-z\]]{2} . "é"? "\u4e2d"{0,2} [-x]{,1})"));
  EXPECT_TRUE(accepts(automaton, "\"\\\nAZ1\xF0\x9F\x98\x80é中中-"));
  EXPECT_TRUE(accepts(automaton, "\"\\\nA11\n"));
  EXPECT_FALSE(accepts(automaton, "\"\\\nAa1x"));
  EXPECT_FALSE(accepts(automaton, "\"\\\nA]1x"));
}

TEST(Ebnf, RecursionAtTheEndNeedsNoStack) {
  Automaton automaton(parse_ebnf("root ::= [a-z] root | \".\"\n"));
  std::string text(100'000, 'x');
  EXPECT_FALSE(accepts(automaton, text));
  text += '.';
  EXPECT_TRUE(accepts(automaton, text));
}

TEST(Ebnf, ErrorsSayWhatAndWhere) {
  const auto refuses = [](std::string_view text, const std::string& part) {
    return fails_with(ErrorCode::InvalidArgument, part, [&] { parse_ebnf(text); });
  };
  EXPECT_TRUE(refuses("", "expected a rule named root"));
  EXPECT_TRUE(refuses("a ::= \"x\"", "expected a rule named root"));
  EXPECT_TRUE(refuses("root ::= a\nb ::= c", "rule \"a\" is not defined at line 1, column 10"));
  EXPECT_TRUE(refuses("root = \"a\"", "expected ::= after the name of a rule at line 1, column 6"));
  EXPECT_TRUE(refuses("root ::= (\"a\"\nb ::= \"c\"", "expected ) at line 2, column 1"));
  EXPECT_TRUE(refuses("root ::= \"a", "expected \""));
  EXPECT_TRUE(refuses("root ::= \"a\n\"", "before the end of the line"));
  EXPECT_TRUE(refuses("root ::= [a", "expected ]"));
  EXPECT_TRUE(refuses("root ::= [b-a]", "ends before it begins"));
  EXPECT_TRUE(refuses("root ::= \"\\q\"", "unknown escape"));
  EXPECT_TRUE(refuses("root ::= \"\\uD800\"", "no Unicode character"));
  EXPECT_TRUE(refuses("root ::= \"a\"{2,1}", "smaller than the first"));
  EXPECT_TRUE(refuses("root ::= \"a\"\nroot ::= \"b\"", "defined twice"));
  EXPECT_TRUE(refuses("root ::= \"a\" )", "expected a part of the rule"));
  EXPECT_TRUE(refuses("root ::= \"\xFF\"", "UTF-8"));
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported, "deeper than 100",
                         [] { parse_ebnf("root ::= " + std::string(20'000, '(')); }));
}

TEST(Ebnf, HostileGrammarsAreRefusedOrAnswerFast) {
  const auto compile = [](std::string_view text) { Automaton automaton(parse_ebnf(text)); };
  for (const char* endless :
       {"root ::= root", "root ::= \"a\" root", "root ::= a\na ::= b\nb ::= a"}) {
    EXPECT_TRUE(
        fails_with(ErrorCode::InvalidArgument, "no text satisfies it", [&] { compile(endless); }));
  }
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "begins with itself",
                         [&] { compile("root ::= root root | \"a\" | \"\""); }));
  std::string wide = "root ::= r0\n";
  for (int i = 0; i < 30'000; ++i) {
    wide += "r" + std::to_string(i) + " ::= r" + std::to_string(i + 1) + " | \"b\" r" +
            std::to_string(i + 1) + "\n";
  }
  wide += "r30000 ::= \"a\"\n";
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported, "too many ways", [&] { compile(wide); }));
}

}  // namespace
}  // namespace fathom::sampling
