#include "fathom/model/text/json_text.h"

#include <random>
#include <string>
#include <string_view>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace fathom::text {
namespace {

TEST(JsonText, KindsAreTold) {
  EXPECT_EQ(read_json("null")->kind, JsonKind::Null);
  EXPECT_EQ(read_json("true")->kind, JsonKind::Boolean);
  EXPECT_EQ(read_json("-0")->kind, JsonKind::Integer);
  EXPECT_EQ(read_json("123456789012345678901234567890")->kind, JsonKind::Integer);
  EXPECT_EQ(read_json("7.0")->kind, JsonKind::Number);
  for (const char* number : {"1e999", "-1.5E+2", "0e-1"}) {
    EXPECT_EQ(read_json(number)->kind, JsonKind::Number);
  }
  EXPECT_EQ(read_json("\"\"")->kind, JsonKind::String);
  EXPECT_EQ(read_json("[[], {}]")->kind, JsonKind::Array);
  EXPECT_EQ(read_json("{\"a\": [1]}")->kind, JsonKind::Object);
}

TEST(JsonText, OuterWhiteSpaceIsNoPartOfTheValue) {
  EXPECT_EQ(read_json(" \t\r\n[ 1 ]\n")->text, "[ 1 ]");
  EXPECT_FALSE(read_json("\xef\xbb\xbf[1]"));
  EXPECT_FALSE(read_json("\f1"));
}

TEST(JsonText, WhatIsNoJsonIsRefused) {
  for (const std::string_view text :
       {"",           " ",         "NaN",         "Infinity", "-",     "+1",   "01",
        "1.",         ".5",        "1e",          "tru",      "truex", "[1,]", "[,1]",
        "{\"a\":1,}", "{a:1}",     "{\"a\" 1}",   "{\"a\":}", "[1 2]", "'a'",  "\"a",
        "\"\n\"",     "\"\\x\"",   "\"\\u12g4\"", "1 2",      "[",     "{",    "]",
        "[}",         "{\"a\":[}", "//\n1",       "\"\\",     "{,}",   "[1]]"}) {
    EXPECT_FALSE(read_json(text)) << text;
  }
}

TEST(JsonText, KeysOfTheOuterObjectAreDecodedInOrder) {
  const auto value =
      read_json(R"({"b": {"x": 1}, "\u0061\n\ud83d\ude42\ud800": [{"y": 2}], "b": 3})");
  ASSERT_TRUE(value);
  EXPECT_EQ(value->keys, (std::vector<std::string>{"b", "a\n🙂\xef\xbf\xbd", "b"}));
  EXPECT_TRUE(read_json("[{\"a\": 1}]")->keys.empty());
}

TEST(JsonText, DeepNestingNeedsNoStack) {
  const std::string open(1'000'000, '[');
  EXPECT_TRUE(read_json(open + std::string(open.size(), ']')));
  EXPECT_FALSE(read_json(open));
}

TEST(JsonText, AcceptsWhatTheLibraryAccepts) {
  std::mt19937 random(5);
  constexpr const char* kPieces[] = {"{",     "}",       "[",  "]",       ",",    ":",
                                     "\"a\"", "\"\\n\"", "1",  "-2.5",    "true", " ",
                                     "null",  "0",       "\"", "{\"k\":", "[1,"};
  int num_valid = 0;
  for (int round = 0; round < 200000; ++round) {
    std::string text;
    for (auto i = 1 + random() % 6; i > 0; --i) {
      text += kPieces[random() % std::size(kPieces)];
    }
    const bool is_valid = nlohmann::json::accept(text);
    num_valid += is_valid ? 1 : 0;
    ASSERT_EQ(read_json(text).has_value(), is_valid) << text;
  }
  EXPECT_GT(num_valid, 2000);
}

TEST(JsonText, StringsAreDecoded) {
  EXPECT_EQ(decode_json_string(R"("a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude42")"),
            "a\"\\/\b\f\n\r\té🙂");
  EXPECT_EQ(decode_json_string(R"("\ud800\u0041")"),
            "\xef\xbf\xbd"
            "A");
  EXPECT_EQ(decode_json_string(R"("\udc00")"), "\xef\xbf\xbd");
}

TEST(JsonText, OnlyWhatMustBeEscapedIs) {
  EXPECT_EQ(json_string("a\"\\/\b\f\n\r\t\x01\x1f\x7f é"),
            "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f é\"");
  EXPECT_EQ(json_string(std::string_view("\0", 1)), "\"\\u0000\"");
}

}  // namespace
}  // namespace fathom::text
