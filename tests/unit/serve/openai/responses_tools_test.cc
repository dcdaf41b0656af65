#include "fathom/serve/openai/responses_tools.h"

#include <gtest/gtest.h>

#include "fathom/model/text/json_value.h"

#include "tests/support/expect_error.h"

namespace fathom::openai {
namespace {

using fathom::testing::fails_with;

ResponsesTools tools_of(const std::string& json) {
  const text::JsonValue list = text::parse_json(json, "tools");
  ResponsesTools tools;
  tools.add(text::JsonField(&list, "tools"));
  return tools;
}

TEST(ResponsesTools, AFunctionIsToldAsAFunctionObject) {
  const ResponsesTools tools = tools_of(
      R"([{"type": "function", "strict": true, "name": "f", "parameters": {"type": "object"},
           "description": "Does.", "cache_control": 1}, {"type": "function", "name": "g"}])");
  ASSERT_EQ(tools.declared().size(), 2U);
  EXPECT_EQ(tools.declared()[0].function_json,
            R"({"name": "f", "description": "Does.", "parameters": {"type": "object"}})");
  EXPECT_EQ(tools.declared()[1].function_json,
            R"({"name": "g", "parameters": {"type": "object", "properties": {}}})");
  EXPECT_TRUE(tools.declared()[0].is_strict);
  EXPECT_EQ(tools.declared()[0].schema_field, "tools[0].parameters");
  EXPECT_FALSE(tools.declared()[1].is_strict);
}

TEST(ResponsesTools, ACustomToolTakesOneTextThatIsHeldToItsGrammar) {
  const ResponsesTools tools = tools_of(
      R"([{"type": "custom", "name": "p", "description": "Edits.",
           "format": {"type": "grammar", "syntax": "lark", "definition": "start: \"x\""}}])");
  EXPECT_TRUE(tools.find("p")->is_custom);
  EXPECT_EQ(tools.declared()[0].function_json,
            R"({"name": "p", "description": "Edits.", "parameters": {"type": "object", )"
            R"("properties": {"input": {"type": "string", "description": )"
            R"("Must match this lark grammar:\nstart: \"x\""}}, "required": ["input"]}})");
  EXPECT_TRUE(tools.declared()[0].is_strict);
  EXPECT_EQ(tools.declared()[0].held_schema,
            R"({"type": "object", "properties": {"input": {"type": "string", )"
            R"("lark": "start: \"x\""}}, "required": ["input"]})");
  EXPECT_EQ(tools.declared()[0].schema_field, "tools[0].format.definition");

  const ResponsesTools others = tools_of(
      R"([{"type": "custom", "name": "r", "strict": true,
           "format": {"type": "grammar", "syntax": "regex", "definition": "a|b"}},
          {"type": "custom", "name": "t", "format": {"type": "text"}},
          {"type": "custom", "name": "n"}])");
  EXPECT_EQ(others.declared()[0].held_schema,
            R"({"type": "object", "properties": {"input": {"type": "string", )"
            R"("pattern": "^(?:a|b)$"}}, "required": ["input"]})");
  for (std::size_t idx : {1U, 2U}) {
    EXPECT_FALSE(others.declared()[idx].is_strict);
    EXPECT_NE(others.declared()[idx].function_json.find(R"({"input": {"type": "string"}})"),
              std::string::npos);
  }
  EXPECT_EQ(custom_input(custom_arguments("a \"b\"\n\\")), "a \"b\"\n\\");
  EXPECT_EQ(custom_input(R"({"other": 1})"), R"({"other": 1})") << "better than nothing";
}

TEST(ResponsesTools, ToolsOfANamespaceAreFlattenedAndFoundAgain) {
  const ResponsesTools tools = tools_of(
      R"([{"type": "namespace", "name": "agents", "description": "Agents.",
           "tools": [{"type": "function", "name": "close", "description": "Closes."}]},
          {"type": "namespace", "name": "mcp__files__", "tools": [{"name": "read"}]}])");
  const ResponsesTool* const tool = tools.find("agents__close");
  ASSERT_NE(tool, nullptr);
  EXPECT_EQ(tool->name, "close");
  EXPECT_EQ(tool->name_space, "agents");
  EXPECT_NE(tools.declared()[0].function_json.find(R"("description": "Agents.\n\nCloses.")"),
            std::string::npos);
  EXPECT_NE(tools.find("mcp__files__read"), nullptr);
  EXPECT_EQ(tools.find("close"), nullptr);
}

TEST(ResponsesTools, WhatTheVendorRunsIsLeftOut) {
  const ResponsesTools tools = tools_of(
      R"([{"type": "web_search", "external_web_access": false},
          {"type": "web_search_preview_2025_03_11"}, {"type": "file_search"},
          {"type": "code_interpreter"}, {"type": "image_generation"}, {"type": "mcp"},
          {"type": "tool_search"}])");
  EXPECT_TRUE(tools.declared().empty());
}

TEST(ResponsesTools, WhatIsWrongIsNamed) {
  const auto fails = [](ErrorCode code, const std::string& message, const std::string& json) {
    return fails_with(code, message, [&] { tools_of(json); });
  };
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument, "tools: expected a list", "{}"));
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument, "tools[0]: expected an object", "[1]"));
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument, "tools[0].type: expected", R"([{"name": "f"}])"));
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument, "tools[0].type: expected",
                    R"([{"type": "web_searching"}])"));
  EXPECT_TRUE(fails(ErrorCode::Unsupported, "tools[0].type: local_shell is not supported",
                    R"([{"type": "local_shell"}])"));
  EXPECT_TRUE(fails(ErrorCode::Unsupported, "tools[0].type: computer_use_preview is",
                    R"([{"type": "computer_use_preview"}])"));
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument, "tools[0].format.type: expected \"text\"",
                    R"([{"type": "custom", "name": "f", "format": {"type": "json"}}])"));
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument, "tools[0].format.syntax: expected \"lark\"",
                    R"([{"type": "custom", "name": "f", "format": {"type": "grammar",
                         "syntax": "gbnf", "definition": "root ::= \"a\""}}])"));
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument, "tools[0].format.definition: expected",
                    R"([{"type": "custom", "name": "f", "format": {"type": "grammar"}}])"));
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument, "tools[0].name: expected a string, found nothing",
                    R"([{"type": "function"}])"));
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument, "tools[0].name: expected a name",
                    R"([{"type": "function", "name": ""}])"));
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument, "tools[0].parameters: expected an object",
                    R"([{"type": "function", "name": "f", "parameters": []}])"));
  EXPECT_TRUE(
      fails(ErrorCode::InvalidArgument, "tools[1].name: expected a name that no other",
            R"([{"type": "function", "name": "a__b"}, {"type": "custom", "name": "a__b"}])"));
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument, "tools[0].tools[0].type: expected",
                    R"([{"type": "namespace", "name": "n", "tools": [{"type": "namespace"}]}])"));
}

TEST(ResponsesTools, AChoiceNamesADeclaredTool) {
  ResponsesTools tools = tools_of(
      R"([{"type": "function", "name": "f"}, {"type": "function", "name": "g"},
          {"type": "namespace", "name": "n", "tools": [{"name": "h"}]}])");
  const text::JsonValue choice =
      text::parse_json(R"({"type": "function", "name": "h", "namespace": "n"})", "choice");
  EXPECT_EQ(tools.chosen(text::JsonField(&choice, "tool_choice")).flat_name, "n__h");
  const text::JsonValue unknown = text::parse_json(R"({"name": "h"})", "choice");
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "tool_choice.name: expected the name of one",
                         [&] { tools.chosen(text::JsonField(&unknown, "tool_choice")); }));
  const text::JsonValue allowed = text::parse_json(R"([{"type": "function", "name": "g"}])", "c");
  tools.keep_only(text::JsonField(&allowed, "tool_choice.tools"));
  ASSERT_EQ(tools.declared().size(), 1U);
  EXPECT_EQ(tools.declared()[0].name, "g");
  EXPECT_EQ(tools.find("f"), nullptr);
}

}  // namespace
}  // namespace fathom::openai
