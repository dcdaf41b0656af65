#include "fathom/model/text/json_value.h"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::text {
namespace {

using testing::fails_with;

std::string print(const std::string& json) {
  return print_json(parse_json(json, "test"));
}

TEST(PrintJson, NumbersAreSpelledAsByPython) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"0", "0"},
      {"-0", "0"},
      {"-0.0", "-0.0"},
      {"1.50", "1.5"},
      {"2.0", "2.0"},
      {"0.1", "0.1"},
      {"1e-7", "1e-07"},
      {"1E5", "100000.0"},
      {"1e16", "1e+16"},
      {"1e15", "1000000000000000.0"},
      {"123456789012345678", "123456789012345678"},
      {"1234567890123456.5", "1234567890123456.5"},
      {"12345678901234567.0", "1.2345678901234568e+16"},
      {"0.0001", "0.0001"},
      {"0.00001", "1e-05"},
      {"-1.5e-10", "-1.5e-10"},
      {"1e22", "1e+22"},
      {"5e-324", "5e-324"},
      {"1.7976931348623157e308", "1.7976931348623157e+308"},
      {"1e-400", "0.0"},
      {"-0.1e-99999999999999999999", "-0.0"},
      {"0.001e-9223372036854775807", "0.0"},
      {"9007199254740993.0", "9007199254740992.0"},
  };
  for (const auto& [json, expected] : cases) {
    EXPECT_EQ(print(json), expected) << json;
  }
}

TEST(PrintJson, IntegersStayVerbatimHoweverLong) {
  const std::string digits(500, '7');
  EXPECT_EQ(print(digits), digits);
  EXPECT_EQ(print("-" + digits), "-" + digits);
}

TEST(PrintJson, StringsEscapeOnlyWhatTheyMust) {
  EXPECT_EQ(print(R"("\u00e9\/\u0001\u007f\n\r\t\b\f\"\\\ud83d\ude00")"),
            "\"\xc3\xa9/\\u0001\x7f\\n\\r\\t\\b\\f\\\"\\\\\xf0\x9f\x98\x80\"");
}

TEST(PrintJson, KeysKeepTheClientsOrderAndTheLastValueOfARepeatedOneCounts) {
  EXPECT_EQ(print(R"({"b":1, "a" : [ ], "b":{"x":null}, "c":[true,false]})"),
            R"({"b": {"x": null}, "a": [], "c": [true, false]})");
}

TEST(ParseJson, WhatIsNotStrictIsRefusedWithItsPlace) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "byte 0: expected a value"},
      {"NaN", "byte 0: expected a value"},
      {"-Infinity", "byte 1: expected a digit"},
      {"[1,]", "byte 3: expected a value"},
      {"{\"a\":1,}", "byte 7: expected a key"},
      {"{\"a\" 1}", "byte 5: expected :"},
      {"01", "byte 1: expected the end"},
      {"1.", "byte 2: expected a digit"},
      {"1e", "byte 2: expected a digit"},
      {"+1", "byte 0: expected a value"},
      {"1e400", "byte 0: a number beyond double"},
      {"33e9223372036854775807", "byte 0: a number beyond double"},
      {"1" + std::string(400, '0') + ".5", "byte 0: a number beyond double"},
      {"\"a", "byte 2: a string without its end"},
      {"\"\n\"", "byte 1: a control character"},
      {"\"\\x\"", "byte 1: an unknown escape"},
      {"\"\\u12g4\"", "byte 1: expected four"},
      {"\"\\ud800\"", "byte 1: a lone surrogate"},
      {"\"\\ud800\\u0041\"", "byte 1: a lone surrogate"},
      {"\"\\udc00\"", "byte 1: a lone surrogate"},
      {"\"\\udc00\\udc00\"", "byte 1: a lone surrogate"},
      {"\"\xff\"", "byte 0: not UTF-8"},
      {"truex", "byte 4: expected the end"},
      {"tru", "byte 0: expected a value"},
      {"[1 2]", "byte 3: expected , or ]"},
      {std::string(100000, '['), "byte 512: nested deeper than 512"},
  };
  for (const auto& [json, problem] : cases) {
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "x.json: not valid JSON at " + problem,
                           [&] { parse_json(json, "x.json"); }));
    EXPECT_FALSE(try_parse_json(json));
  }
}

TEST(ParseJson, NestingUpToTheLimitIsFine) {
  const std::string json = std::string(512, '[') + std::string(512, ']');
  EXPECT_EQ(print(json), json);
}

TEST(ParseJson, MembersAreFoundByName) {
  const JsonValue value = parse_json(R"({"a": 1, "b": "x"})", "test");
  ASSERT_NE(value.find("b"), nullptr);
  EXPECT_EQ(value.find("b")->text, "x");
  EXPECT_EQ(value.find("c"), nullptr);
  EXPECT_EQ(value.find("a")->find("b"), nullptr);
}

TEST(ParseJson, ManyRepeatedKeysStayLinear) {
  std::string json = "{";
  for (int i = 0; i < 200000; ++i) {
    json += "\"k" + std::to_string(i % 100000) + "\":1,";
  }
  json.back() = '}';
  EXPECT_EQ(parse_json(json, "test").keys.size(), 100000U);
}

}  // namespace
}  // namespace fathom::text
