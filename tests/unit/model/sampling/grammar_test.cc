#include "fathom/model/sampling/grammar.h"

#include <random>

#include <gtest/gtest.h>

#include "fathom/base/formats/text.h"

#include "tests/support/accepts.h"
#include "tests/support/expect_error.h"

namespace fathom::sampling {
namespace {

using testing::accepts;
using testing::fails_with;

Grammar with_root(Grammar grammar, ExprId expr) {
  grammar.root = grammar.add_rule("root");
  grammar.define(grammar.root, expr);
  return grammar;
}

TEST(CodePoints, RandomRangesMatchExactlyTheirCharacters) {
  std::mt19937 random(3);
  const std::vector<std::uint32_t> corners = {0,       0x7F,    0x80,    0x7FF,  0x800,
                                              0xFFF,   0x1000,  0xD7FF,  0xE000, 0xFFFF,
                                              0x10000, 0x3FFFF, 0x10FFFF};
  for (int round = 0; round < 12; ++round) {
    std::vector<CodePointRange> ranges;
    for (int i = 0; i < 3; ++i) {
      const std::uint32_t a = random() % 3 == 0 ? corners[random() % corners.size()]
                                                : static_cast<std::uint32_t>(random() % 0x110000);
      const std::uint32_t b = a + static_cast<std::uint32_t>(random() % 5000);
      ranges.push_back({a, std::min(b, kLastCodePoint)});
    }
    if (round % 2 == 1) {
      ranges = complement(ranges);
    }
    Grammar grammar;
    const ExprId expr = grammar.code_points(ranges);
    Automaton automaton(with_root(std::move(grammar), expr));
    for (std::uint32_t code_point = 0; code_point <= kLastCodePoint; ++code_point) {
      bool is_wanted = false;
      for (const CodePointRange& range : ranges) {
        is_wanted = is_wanted || (range.low <= code_point && code_point <= range.high);
      }
      is_wanted = is_wanted && (code_point < 0xD800 || code_point > 0xDFFF);
      if (accepts(automaton, utf8_of(code_point)) != is_wanted) {
        FAIL() << "U+" << std::hex << code_point;
      }
    }
  }
}

TEST(CodePoints, EncodingAndDecodingAreInverse) {
  for (std::uint32_t code_point = 0; code_point <= kLastCodePoint; ++code_point) {
    const std::string text = utf8_of(code_point);
    std::size_t offset = 0;
    const bool is_surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
    const auto read = next_code_point(text, offset);
    if (is_surrogate ? read.has_value() : read != code_point || offset != text.size()) {
      FAIL() << std::hex << code_point;
    }
  }
  std::size_t offset = 0;
  EXPECT_FALSE(next_code_point("\x80", offset).has_value());
  EXPECT_FALSE(next_code_point("\xE2\x82", offset).has_value());
  EXPECT_EQ(offset, 0U);
}

TEST(Prune, RemovesBranchesThatNeverEndSoThatNoPrefixIsADeadEnd) {
  Grammar grammar;
  const RuleId endless = grammar.add_rule("endless");
  grammar.define(endless, grammar.sequence({grammar.literal("x"), grammar.reference(endless)}));
  const ExprId either = grammar.choice(
      {grammar.sequence({grammar.literal("a"), grammar.reference(endless)}), grammar.literal("b")});
  Automaton automaton(with_root(std::move(grammar), either));
  EXPECT_TRUE(accepts(automaton, "b"));
  EXPECT_FALSE(testing::is_beginning(automaton, "a"));
}

TEST(Prune, ARepetitionOfTheImpossibleIsTheEmptyTextWhereZeroTimesAreAllowed) {
  Grammar grammar;
  const ExprId expr =
      grammar.sequence({grammar.repeat(grammar.nothing(), 0, 5), grammar.literal("end")});
  EXPECT_TRUE(accepts(with_root(std::move(grammar), expr), "end"));
  Grammar impossible;
  const ExprId once = impossible.repeat(impossible.nothing(), 2, 5);
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "no text satisfies it",
                         [&] { Automaton automaton(with_root(std::move(impossible), once)); }));
}

TEST(Prune, LeftRecursionThatNeverEndsIsNoMoreThanAMissingAlternative) {
  Grammar grammar;
  const RuleId rule = grammar.add_rule("endless");
  grammar.define(rule, grammar.sequence({grammar.reference(rule), grammar.literal("x")}));
  const ExprId either = grammar.choice({grammar.reference(rule), grammar.literal("b")});
  EXPECT_TRUE(accepts(with_root(std::move(grammar), either), "b"));
}

TEST(LeftRecursion, IsRefusedAlsoBehindWhatMayBeEmpty) {
  Grammar grammar;
  const RuleId rule = grammar.add_rule("list");
  grammar.define(rule,
                 grammar.choice({grammar.sequence({grammar.optional(grammar.literal(" ")),
                                                   grammar.reference(rule), grammar.literal("x")}),
                                 grammar.literal("x")}));
  grammar.root = rule;
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "rule \"list\" begins with itself",
                         [&] { Automaton automaton(std::move(grammar)); }));
}

TEST(Grammar, RefusesToGrowWithoutEnd) {
  Grammar grammar;
  const std::string long_text(400'000, 'x');
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "more than", [&] {
    for (int i = 0; i < 3; ++i) {
      grammar.literal(long_text);
    }
  }));
}

}  // namespace
}  // namespace fathom::sampling
