#include "fathom/model/config/json_fields.h"

#include <gtest/gtest.h>

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

using testing::expect_error;

struct BadText {
  std::string text;
  std::vector<std::string> parts;
};

TEST(JsonFields, BadTextIsRefusedWithFileAndPlace) {
  const std::vector<BadText> cases = {
      {"", {"a.json: not valid JSON at byte 1"}},
      {"[]", {"a.json: expected a JSON object, found []"}},
      {"{\"a\": 1", {"not valid JSON at byte", "at or after key \"a\""}},
      {R"({"hc_eps": NaN})", {"not valid JSON at byte", "key \"hc_eps\""}},
      {R"({"hc_eps": 1e999})", {"a number is out of range", "key \"hc_eps\""}},
      {R"({"a": 1, "a": 2})", {"\"a\": key given twice"}},
      {R"({"b": {"a": 1, "a": 2}})", {"\"a\": key given twice"}},
      {"{\"a\": \"\xff\"}", {"not valid JSON"}},
      {std::string(100000, '['), {"nested deeper than 16 levels"}},
      {R"({"a":)" + std::string(100000, '['), {"nested deeper than 16 levels"}},
      {std::string(std::size_t{17} << 20, ' '), {"expected at most 16777216"}},
  };
  for (const BadText& bad : cases) {
    expect_error([&] { JsonFields::parse(bad.text, "a.json"); }, ErrorCode::InvalidCheckpoint,
                 bad.parts);
  }
}

TEST(JsonFields, SameKeyInTwoObjectsIsNoRepetition) {
  EXPECT_NO_THROW(JsonFields::parse(R"({"a": 1, "b": {"a": 2}, "c": {"a": 3}})", "a.json"));
}

TEST(JsonFields, RangesIncludeTheirEnds) {
  JsonFields fields = JsonFields::parse(R"({"a": 3, "x": 0.5})", "a.json");
  EXPECT_EQ(fields.integer("a", {3, 3}), 3);
  EXPECT_EQ(fields.number("x", {0.5, 0.5}), 0.5);
  EXPECT_EQ(fields.number("a", {0, 3}), 3);
  expect_error(
      [&] {
        fields.integer("a", {0, 2});
      },
      ErrorCode::InvalidCheckpoint, {"a.json: a: expected an integer from 0 to 2, found 3"});
  expect_error(
      [&] {
        fields.number("x", {0, 0.25});
      },
      ErrorCode::InvalidCheckpoint, {"a.json: x: expected a number from 0 to 0.25, found 0.5"});
}

TEST(JsonFields, NestedKeysAreNamedByTheirPath) {
  JsonFields fields = JsonFields::parse(R"({"a": {"b": {"c": true, "d": 1}}})", "a.json");
  JsonFields nested = fields.find_object("a").value().find_object("b").value();
  expect_error(
      [&] {
        nested.integer("c", {0, 1});
      },
      ErrorCode::InvalidCheckpoint, {"a.json: a.b.c: "});
  EXPECT_EQ(nested.unknown_keys(), std::vector<std::string>{"a.b.d"});
}

TEST(JsonFields, NestedObjectOutlivesItsParent) {
  std::optional<JsonFields> nested;
  {
    JsonFields fields = JsonFields::parse(R"({"a": {"b": 7}})", "a.json");
    nested = fields.find_object("a");
  }
  EXPECT_EQ(nested->integer("b", {0, 9}), 7);
}

TEST(JsonFields, NullIsNoValue) {
  JsonFields fields = JsonFields::parse(R"({"a": null})", "a.json");
  EXPECT_FALSE(fields.has("a"));
  EXPECT_FALSE(fields.find_object("a").has_value());
  expect_error([&] { fields.text("a"); }, ErrorCode::InvalidCheckpoint,
               {"a: key is missing (null)"});
}

TEST(JsonFields, LongValuesAreCutInMessages) {
  JsonFields fields = JsonFields::parse("{\"a\": \"" + std::string(5000, 'x') + "\"}", "a.json");
  try {
    fields.integer("a", {0, 1});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_LT(std::string(error.what()).size(), 200U);
  }
}

}  // namespace
}  // namespace fathom::config
