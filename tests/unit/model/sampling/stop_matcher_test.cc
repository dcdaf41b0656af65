#include "fathom/model/sampling/stop_matcher.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"

namespace fathom::sampling {
namespace {

struct Outcome {
  std::string text;
  Index stop_idx;
  bool operator==(const Outcome&) const = default;
};

Outcome in_one_piece(const std::vector<std::string>& stops, std::string_view reply) {
  StopMatcher matcher(stops);
  std::string text;
  matcher.push(reply, text);
  matcher.finish(text);
  return {text, matcher.stop_idx()};
}

// The rule as written in the header, without any state.
Outcome by_definition(const std::vector<std::string>& stops, const std::string& reply) {
  for (std::size_t end = 1; end <= reply.size(); ++end) {
    Index best = -1;
    for (std::size_t i = 0; i < stops.size(); ++i) {
      const bool matches = end >= stops[i].size() &&
                           reply.compare(end - stops[i].size(), stops[i].size(), stops[i]) == 0;
      if (matches && (best < 0 || stops[i].size() > stops[to_size(best)].size())) {
        best = to_index(i);
      }
    }
    if (best >= 0) {
      return {reply.substr(0, end - stops[to_size(best)].size()), best};
    }
  }
  return {reply, -1};
}

TEST(StopMatcher, HoldsBackWhatMayBecomeAStopAndReleasesItWhenItDoesNot) {
  StopMatcher matcher({"</end>"});
  std::string text;
  EXPECT_FALSE(matcher.push("abc</e", text));
  EXPECT_EQ(text, "abc");
  EXPECT_FALSE(matcher.push("x</", text));
  EXPECT_EQ(text, "abc</ex");
  EXPECT_TRUE(matcher.push("end> more", text));
  EXPECT_EQ(text, "abc</ex");
  EXPECT_TRUE(matcher.push("ignored", text));
  matcher.finish(text);
  EXPECT_EQ(text, "abc</ex");
  EXPECT_EQ(matcher.stop_idx(), 0);
}

TEST(StopMatcher, ReleasesTheHeldTextAtTheEnd) {
  EXPECT_EQ(in_one_piece({"stop"}, "non-sto"), (Outcome{"non-sto", -1}));
}

TEST(StopMatcher, OfStopsThatEndTogetherTheLongestWins) {
  EXPECT_EQ(in_one_piece({"b", "ab", "xab"}, "aab"), (Outcome{"a", 1}));
}

TEST(StopMatcher, FindsAStopThatBeginsInsideAFailedOne) {
  EXPECT_EQ(in_one_piece({"aab"}, "aaab"), (Outcome{"a", 0}));
}

TEST(StopMatcher, WithoutStopsEverythingPasses) {
  EXPECT_EQ(in_one_piece({}, "text"), (Outcome{"text", -1}));
}

TEST(StopMatcher, AnEmptyStopIsAnError) {
  EXPECT_THROW(StopMatcher({"a", ""}), Error);
}

TEST(StopMatcher, FollowsTheDefinitionForEverySplit) {
  std::mt19937 random(1);
  const auto word = [&](std::size_t longest) {
    std::string text(1 + random() % longest, ' ');
    std::generate(text.begin(), text.end(), [&] { return "ab"[random() % 2]; });
    return text;
  };
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::string> stops(1 + random() % 3);
    std::generate(stops.begin(), stops.end(), [&] { return word(6); });
    const std::string reply = word(20);
    StopMatcher matcher(stops);
    std::string text;
    for (std::size_t begin = 0; begin < reply.size();) {
      const std::size_t length = random() % 5;
      matcher.push(std::string_view(reply).substr(begin, length), text);
      begin += length;
    }
    matcher.finish(text);
    ASSERT_EQ((Outcome{text, matcher.stop_idx()}), by_definition(stops, reply)) << reply;
  }
}

}  // namespace
}  // namespace fathom::sampling
