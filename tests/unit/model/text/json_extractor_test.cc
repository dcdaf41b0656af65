#include "fathom/model/text/json_extractor.h"

#include <optional>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace fathom::text {
namespace {

std::string extract(std::string_view content, const MarkerSet& stops = MarkerSet()) {
  std::string whole;
  JsonExtractor once(&stops);
  once.push(content, whole);
  once.finish(whole);
  std::string bytewise;
  JsonExtractor letters(&stops);
  for (std::size_t i = 0; i < content.size(); ++i) {
    letters.push(content.substr(i, 1), bytewise);
  }
  letters.finish(bytewise);
  EXPECT_EQ(bytewise, whole);
  EXPECT_EQ(letters.stop(), once.stop());
  return whole;
}

TEST(JsonExtractor, TextAroundTheFirstBracketsIsDropped) {
  EXPECT_EQ(extract("Sure: {\"a\": [1, {}]} and {\"b\": 2}"), "{\"a\": [1, {}]}");
  EXPECT_EQ(extract("[1]x"), "[1]");
  EXPECT_EQ(extract("no JSON at all, `code`"), "");
}

TEST(JsonExtractor, BracketsInsideStringsDoNotCount) {
  EXPECT_EQ(extract(R"({"a": "}\"]\\"} tail)"), R"({"a": "}\"]\\"})");
}

TEST(JsonExtractor, CodeFenceOpensAndClosesTheJson) {
  EXPECT_EQ(extract("Here:\n```json\n{\"a\": 1}\n```\nBye {}"), "{\"a\": 1}");
  EXPECT_EQ(extract("```\n\"text\"\n```"), "\"text\"");
  EXPECT_EQ(extract("```{\"a\": \"``` `\"}```"), "{\"a\": \"``` `\"}");
  EXPECT_EQ(extract("```json\n[1,\n 2]"), "[1,\n 2]");
  EXPECT_EQ(extract("```\n1 `` 2\n```"), "1 `` 2");
}

TEST(JsonExtractor, CutShortJsonIsKept) {
  EXPECT_EQ(extract("x {\"a\": [1"), "{\"a\": [1");
}

TEST(JsonExtractor, StopStringsCountInsideTheJsonOnly) {
  const MarkerSet stops(std::vector<Marker>{{symbols_of("END"), 4}});
  EXPECT_EQ(extract("END {\"a\": \"END\"}", stops), "{\"a\": \"");
  EXPECT_EQ(extract("END {\"a\": \"EN\"}", stops), "{\"a\": \"EN\"}");
  EXPECT_EQ(extract("{\"a\": \"E", stops), "{\"a\": \"E");
  JsonExtractor extractor(&stops);
  std::string json;
  extractor.push("END {END", json);
  EXPECT_EQ(extractor.stop(), std::optional(4));
}

}  // namespace
}  // namespace fathom::text
