#include "fathom/model/sampling/json_text.h"

#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/accepts.h"

namespace fathom::sampling {
namespace {

using testing::accepts;

template <typename Build>
Grammar grammar_of(const Build& build) {
  Grammar grammar;
  JsonText text(grammar);
  grammar.root = grammar.add_rule("root");
  // An empty range would be refused: the mark lets every grammar have a text.
  grammar.define(grammar.root, grammar.choice({build(text), grammar.literal("!")}));
  return grammar;
}

// Every number of up to 3 digits before the point and 2 behind it, as text.
std::vector<std::string> short_numbers() {
  std::vector<std::string> texts;
  for (int whole = 0; whole <= 130; ++whole) {
    for (int hundredths = -1; hundredths < 100; ++hundredths) {
      std::string text = std::to_string(whole);
      if (hundredths >= 0) {
        text += "." + std::string(hundredths < 10 ? "0" : "") + std::to_string(hundredths);
      }
      texts.push_back(text);
      texts.push_back("-" + text);
      if (hundredths >= 0 && hundredths % 10 == 0) {
        texts.push_back(text.substr(0, text.size() - 1));
        texts.push_back("-" + texts.back());
      }
    }
  }
  return texts;
}

std::optional<Bound> random_bound(std::mt19937& random, bool is_whole) {
  if (random() % 5 == 0) {
    return std::nullopt;
  }
  const int hundredths = static_cast<int>(random() % 26'000) - 13'000;
  std::string text = std::to_string(is_whole || random() % 3 == 0 ? hundredths / 100 : hundredths);
  if (!is_whole) {
    text += random() % 2 == 0 ? "e-2" : "e-1";
  }
  return Bound{*decimal_of(text), random() % 2 == 0};
}

double value_of(const Decimal& decimal) {
  const double magnitude =
      std::strtod((decimal.whole + "." + decimal.fraction + "0").c_str(), nullptr);
  return decimal.is_negative ? -magnitude : magnitude;
}

bool is_within(double value, const NumberRange& range) {
  const bool above = !range.low.has_value() || value > value_of(range.low->value) ||
                     (value == value_of(range.low->value) && !range.low->is_exclusive);
  const bool below = !range.high.has_value() || value < value_of(range.high->value) ||
                     (value == value_of(range.high->value) && !range.high->is_exclusive);
  return above && below;
}

TEST(JsonNumber, BoundsAllowExactlyWhatLiesBetweenThem) {
  std::mt19937 random(4);
  const auto texts = short_numbers();
  for (int round = 0; round < 60; ++round) {
    const NumberRange range = {random_bound(random, false), random_bound(random, false)};
    if (!range.low.has_value() && !range.high.has_value()) {
      continue;
    }
    Automaton automaton(grammar_of([&](JsonText& text) { return text.number(range, 16); }));
    for (const std::string& text : texts) {
      ASSERT_EQ(accepts(automaton, text), is_within(std::strtod(text.c_str(), nullptr), range))
          << text << " between " << (range.low ? value_of(range.low->value) : -1e9) << " and "
          << (range.high ? value_of(range.high->value) : 1e9);
    }
  }
}

TEST(JsonNumber, WholeNumbersKeepToBoundsWithFractionsToo) {
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    const NumberRange range = {random_bound(random, round % 2 == 0),
                               random_bound(random, round % 3 == 0)};
    Automaton automaton(grammar_of([&](JsonText& text) { return text.integer(range); }));
    for (int value = -140; value <= 140; ++value) {
      ASSERT_EQ(accepts(automaton, std::to_string(value)), is_within(value, range)) << value;
    }
    EXPECT_FALSE(accepts(automaton, "-0"));
    EXPECT_FALSE(accepts(automaton, "007"));
    EXPECT_FALSE(accepts(automaton, "1.0"));
  }
}

TEST(JsonNumber, MultiplesAreThoseOfTheDivisor) {
  for (const Index divisor : {2, 5, 7, 13, 100}) {
    Automaton automaton(
        grammar_of([&](JsonText& text) { return text.integer_multiple_of(divisor); }));
    for (Index value = -300; value <= 300; ++value) {
      ASSERT_EQ(accepts(automaton, std::to_string(value)), value % divisor == 0) << value;
    }
  }
}

TEST(JsonNumber, WithoutBoundsItEndsAndStaysFinite) {
  Automaton automaton(grammar_of([](JsonText& text) { return text.number({}, 16); }));
  for (const char* good : {"0", "-0", "-12.5", "1e5", "1.25E-10", "999999999999999999", "0.1"}) {
    EXPECT_TRUE(accepts(automaton, good)) << good;
  }
  for (const char* bad :
       {"01", "+1", "1.", ".5", "1e", "1e999", "1234567890123456789", "--1", "NaN"}) {
    EXPECT_FALSE(accepts(automaton, bad)) << bad;
  }
}

TEST(Decimal, ReadsExponentsAndKnowsItsLimits) {
  const auto text = [](std::string_view number) {
    const auto value = decimal_of(number);
    return value.has_value()
               ? (value->is_negative ? "-" : "") + value->whole + "." + value->fraction
               : "";
  };
  EXPECT_EQ(text("1e-05"), "0.00001");
  EXPECT_EQ(text("-1.50"), "-1.5");
  EXPECT_EQ(text("-0.0"), "0.");
  EXPECT_EQ(text("12e3"), "12000.");
  EXPECT_EQ(text("1.5e1"), "15.");
  EXPECT_EQ(text("1e18"), "");
  EXPECT_EQ(text("1e300"), "");
  EXPECT_EQ(text("1e-17"), "");
  EXPECT_EQ(text("1e99999999999999999999"), "");
}

TEST(JsonString, HoldsWholeCharactersAndWholeEscapesOnly) {
  Automaton automaton(grammar_of([](JsonText& text) { return text.any_string(); }));
  for (const char* good :
       {R"("")", R"("aé中😀")", R"("\n\"\\\/\u00e9")", R"("\ud83d\ude00")", R"("\uD7FF")"}) {
    EXPECT_TRUE(accepts(automaton, good)) << good;
  }
  for (const char* bad :
       {R"(")", R"("a"b")", R"("\x")", R"("\u12")", R"("\ud83d")", R"("\ude00")", R"("\ud83da")",
        "\"\n\"", "\"\xFF\"", "\"\xC0\x80\"", "\"\xED\xA0\x80\""}) {
    EXPECT_FALSE(accepts(automaton, bad)) << bad;
  }
}

TEST(JsonString, SpellsEachCharacterInOneWay) {
  Automaton automaton(grammar_of([](JsonText& text) {
    return text.quoted(text.spell({{0, 0x22}, {'\\', '\\'}, {0xE9, 0xE9}}));
  }));
  for (const char* good :
       {R"("\u0000")", R"("\n")", R"("\"")", R"("\\")", R"(" ")", R"("é")", R"("\u001f")"}) {
    EXPECT_TRUE(accepts(automaton, good)) << good;
  }
  for (const char* bad : {R"("\u000a")", R"("a")", R"("\u00e9")", R"(""")"}) {
    EXPECT_FALSE(accepts(automaton, bad)) << bad;
  }
}

TEST(JsonSpace, RunsOfItEnd) {
  Automaton automaton(grammar_of([](JsonText& text) { return text.space(); }));
  EXPECT_TRUE(accepts(automaton, ""));
  EXPECT_TRUE(accepts(automaton, " "));
  EXPECT_TRUE(accepts(automaton, "\n" + std::string(20, ' ')));
  EXPECT_FALSE(testing::is_beginning(automaton, "  "));
  EXPECT_FALSE(testing::is_beginning(automaton, "\n\n"));
  EXPECT_FALSE(testing::is_beginning(automaton, "\n" + std::string(21, ' ')));
}

}  // namespace
}  // namespace fathom::sampling
