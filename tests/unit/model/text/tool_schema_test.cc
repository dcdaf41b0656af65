#include "fathom/model/text/tool_schema.h"

#include <string>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::text {
namespace {

using testing::fails_with;

ToolSchema schema_of(const std::string& properties) {
  return ToolSchema({"t", R"({"name": "t", "parameters": {"type": "object", "properties": )" +
                              properties + "}}"});
}

TEST(ToolSchema, TypesDecideWhatAPropertyTakes) {
  const ToolSchema schema = schema_of(
      R"({"s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": "number"},
          "m": {"type": ["integer", "null"]}, "e": {"type": ["string", "number"]}, "any": {},
          "odd": {"type": "colour"}, "yes": true})");
  EXPECT_TRUE(schema.has_property("s"));
  EXPECT_FALSE(schema.has_property("missing"));
  for (const char* key : {"s", "e", "any", "odd", "yes", "missing"}) {
    EXPECT_TRUE(schema.takes_string(key)) << key;
  }
  for (const char* key : {"i", "n", "m"}) {
    EXPECT_FALSE(schema.takes_string(key)) << key;
  }
  EXPECT_TRUE(schema.takes("i", JsonKind::Integer));
  EXPECT_FALSE(schema.takes("i", JsonKind::Number));
  EXPECT_TRUE(schema.takes("n", JsonKind::Integer));
  EXPECT_TRUE(schema.takes("n", JsonKind::Number));
  EXPECT_TRUE(schema.takes("m", JsonKind::Null));
  EXPECT_FALSE(schema.takes("m", JsonKind::Boolean));
  EXPECT_TRUE(schema.takes("any", JsonKind::Array));
}

TEST(ToolSchema, ToolWithoutParametersHasNoProperties) {
  for (const char* json : {"{}", R"({"parameters": null})", R"({"parameters": {}})",
                           R"({"parameters": {"properties": []}})"}) {
    EXPECT_FALSE(ToolSchema({"t", json}).has_property("a")) << json;
  }
}

TEST(ToolSchema, WhatIsNoObjectIsRefused) {
  for (const char* json : {"", "[]", "{", "3"}) {
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "tool \"t\"", [&] {
      ToolSchema({"t", json});
    }));
  }
}

TEST(ToolSet, OfEqualNamesTheFirstStays) {
  const ToolSet tools(
      {{"a", R"({"parameters": {"properties": {"x": {}}}})"}, {"b", "{}"}, {"a", "{}"}});
  EXPECT_EQ(tools.schemas().size(), 2U);
  ASSERT_NE(tools.find("a"), nullptr);
  EXPECT_TRUE(tools.find("a")->has_property("x"));
  EXPECT_EQ(tools.find("c"), nullptr);
}

TEST(ParseTools, WrappedAndBareFunctionsAreRead) {
  for (
      const char* json :
      {R"([{"name": "f", "description": "é"}])",
       R"([{"type": "function", "function": {"name": "f", "description": "é"}}])",
       R"({"model": "m", "tools": [{"type": "function", "function": {"name": "f", "description": "é"}}]})"}) {
    const std::vector<Tool> tools = parse_tools(json, "tools.json");
    ASSERT_EQ(tools.size(), 1U);
    EXPECT_EQ(tools[0].name, "f");
    EXPECT_EQ(tools[0].function_json, R"({"name":"f","description":"é"})");
  }
  EXPECT_TRUE(parse_tools("[]", "tools.json").empty());
}

TEST(ParseTools, ErrorsNameTheFileAndTheEntry) {
  const auto parse = [](const std::string& json) {
    return [json] { parse_tools(json, "tools.json"); };
  };
  const ErrorCode code = ErrorCode::InvalidArgument;
  EXPECT_TRUE(fails_with(code, "tools.json: not valid JSON", parse("[")));
  EXPECT_TRUE(
      fails_with(code, "tools.json: expected an array of tools, found object", parse("{}")));
  EXPECT_TRUE(
      fails_with(code, "tools.json: tool 1: expected a tool", parse(R"([{"name": "f"}, 3])")));
  EXPECT_TRUE(
      fails_with(code, "tool 0.function: expected", parse(R"([{"function": {"name": 3}}])")));
  EXPECT_TRUE(
      fails_with(code, "deeper than", parse(std::string(100000, '[') + std::string(100000, ']'))));
}

}  // namespace
}  // namespace fathom::text
