#include "fathom/model/text/marker_matcher.h"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::text {
namespace {

MarkerSet make_set(const std::vector<std::string>& texts) {
  std::vector<Marker> markers;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    markers.push_back({symbols_of(texts[i]), static_cast<int>(i)});
  }
  return MarkerSet(markers);
}

MarkerSet::Node walk(const MarkerSet& set, std::string_view text) {
  MarkerSet::Node node = 0;
  for (const Symbol symbol : symbols_of(text)) {
    node = set.next(node, symbol);
  }
  return node;
}

TEST(Symbols, BytesAboveAsciiAreSymbolsBelow256) {
  const Symbols symbols = symbols_of("\xff\x80z");
  ASSERT_EQ(symbols.size(), 3U);
  EXPECT_EQ(symbols[0], 255);
  EXPECT_EQ(symbols[1], 128);
}

TEST(Symbols, ControlTokensAreSpelled) {
  std::string text;
  for (const Symbol symbol : {kThinkOpenSymbol, Symbol{'a'}, kThinkCloseSymbol, kDsmlSymbol}) {
    append_text(symbol, text);
  }
  EXPECT_EQ(text, "<think>a</think>｜DSML｜");
}

TEST(MarkerSet, DepthIsTheLongestSuffixThatBeginsAMarker) {
  const MarkerSet set = make_set({"abcd", "bce"});
  EXPECT_EQ(set.depth(walk(set, "abc")), 3);
  EXPECT_EQ(set.depth(walk(set, "xab")), 2);
  EXPECT_EQ(set.depth(walk(set, "abx")), 0);
  EXPECT_EQ(set.depth(walk(set, "abca")), 1);
  EXPECT_EQ(set.depth(walk(set, "ababc")), 3);
}

TEST(MarkerSet, FallsBackIntoAMarkerThatBeganInsideAnother) {
  const MarkerSet set = make_set({"abcd", "bce"});
  const auto match = set.match(walk(set, "abce"));
  ASSERT_TRUE(match);
  EXPECT_EQ(match->id, 1);
  EXPECT_EQ(match->length, 3);
  EXPECT_FALSE(set.match(walk(set, "abc")));
}

TEST(MarkerSet, TheLongestOfMarkersThatEndTogetherIsFound) {
  const MarkerSet set = make_set({">", "true\">"});
  EXPECT_EQ(set.match(walk(set, "x>"))->id, 0);
  EXPECT_EQ(set.match(walk(set, "true\">"))->id, 1);
  EXPECT_EQ(set.match(walk(set, "tru\">"))->id, 0);
}

TEST(MarkerSet, OfEqualMarkersTheFirstStays) {
  const MarkerSet set = make_set({"ab", "ab"});
  EXPECT_EQ(set.match(walk(set, "ab"))->id, 0);
}

TEST(MarkerSet, ControlTokensAreNoBytes) {
  const MarkerSet set(std::vector<Marker>{{Symbols{'<', kDsmlSymbol}, 7}});
  EXPECT_FALSE(set.match(walk(set, "<｜DSML｜")));
  EXPECT_EQ(set.match(set.next(walk(set, "<"), kDsmlSymbol))->id, 7);
}

TEST(MarkerSet, EmptySetMatchesNothing) {
  const MarkerSet set;
  EXPECT_EQ(set.depth(walk(set, "anything")), 0);
  EXPECT_FALSE(set.match(walk(set, "anything")));
}

TEST(HeldSymbols, FrontIsDroppedInOrderAndMemoryReturns) {
  HeldSymbols held;
  Index next = 0;
  for (Index round = 0; round < 1000; ++round) {
    for (int i = 0; i < 3; ++i) {
      held.push(static_cast<Symbol>((round * 3 + i) % 200));
    }
    const Index count = round % 5;
    if (count <= held.size()) {
      held.drop_front(count);
      next += count;
    }
    ASSERT_EQ(held[0], next % 200);
    ASSERT_EQ(held.size(), round * 3 + 3 - next);
  }
  held.drop_front(held.size());
  EXPECT_TRUE(held.is_empty());
}

}  // namespace
}  // namespace fathom::text
