#include "fathom/model/text/call_arguments.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::text {
namespace {

const ToolSchema& schema() {
  static const ToolSchema kSchema(
      {"t",
       R"({"parameters": {"properties": {"city": {"type": "string"}, "days": {"type": "integer"},
                "opts": {"type": "object"}}}})"});
  return kSchema;
}

struct Parameter {
  std::string key;
  bool is_string;
  std::string value;
};

std::string write(const std::vector<Parameter>& parameters, const ToolSchema* tool = &schema()) {
  CallArguments arguments(tool);
  std::string json;
  for (const Parameter& parameter : parameters) {
    arguments.begin_parameter(parameter.key, parameter.is_string, json);
    for (const char letter : parameter.value) {
      arguments.add_value(std::string_view(&letter, 1), json);
    }
    arguments.end_parameter(json);
  }
  arguments.finish(json);
  return json;
}

TEST(CallArguments, NoParametersAreAnEmptyObject) {
  EXPECT_EQ(write({}), "{}");
}

TEST(CallArguments, KeysAndStringsAreEscapedAndCleaned) {
  EXPECT_EQ(write({{"a\"b\n", true, "x\"y\\"}}), R"({"a\"b\n": "x\"y\\"})");
  EXPECT_EQ(write({{"\xff", true, "\xe4\xbd"}}), "{\"\xef\xbf\xbd\": \"\xef\xbf\xbd\"}");
}

TEST(CallArguments, ValidJsonIsPassedOnVerbatimWithoutOuterSpace) {
  EXPECT_EQ(write({{"any", false, " [1,  2.50] \n"}, {"city", false, "5"}}),
            R"({"any": [1,  2.50], "city": 5})");
}

TEST(CallArguments, BadJsonBecomesAString) {
  EXPECT_EQ(write({{"days", false, "{3, \"a\""}, {"n", false, "NaN"}, {"e", false, ""}}),
            R"({"days": "{3, \"a\"", "n": "NaN", "e": ""})");
}

TEST(CallArguments, StringsBecomeWhatTheSchemaWantsWhereTheyParseAsIt) {
  EXPECT_EQ(write({{"days", true, " 7 "}, {"opts", true, "{\"a\": 1}"}, {"city", true, "9"}}),
            R"({"days": 7, "opts": {"a": 1}, "city": "9"})");
  EXPECT_EQ(write({{"days", true, "7.5"}, {"opts", true, "[1]"}}),
            R"({"days": "7.5", "opts": "[1]"})");
}

TEST(CallArguments, UndeclaredToolsKeepStrings) {
  EXPECT_EQ(write({{"days", true, "7"}}, nullptr), R"({"days": "7"})");
}

TEST(CallArguments, OfRepeatedKeysTheFirstStays) {
  EXPECT_EQ(
      write({{"city", true, "a"}, {"city", true, "b"}, {"days", false, "1"}, {"city", false, "3"}}),
      R"({"city": "a", "days": 1})");
}

TEST(CallArguments, OneParameterThatWrapsAllIsUnwrapped) {
  EXPECT_EQ(write({{"arguments", false, " {\"city\": \"R\"} "}}), R"({"city": "R"})");
  EXPECT_EQ(write({{"input", true, "{\"days\":3}"}}), R"({"days":3})");
  EXPECT_EQ(write({{"arguments", false, R"("{\"city\": 1}")"}}), R"({"city": 1})");
}

TEST(CallArguments, WrappingThatDoesNotFitIsAnOrdinaryParameter) {
  EXPECT_EQ(write({{"arguments", false, "{\"zzz\": 1}"}}), R"({"arguments": {"zzz": 1}})");
  EXPECT_EQ(write({{"arguments", true, "text"}}), R"({"arguments": "text"})");
  EXPECT_EQ(write({{"input", false, "{\"city\": 1}"}, {"city", true, "x"}}),
            R"({"input": {"city": 1}, "city": "x"})");
  EXPECT_EQ(write({{"city", true, "x"}, {"input", false, "{\"city\": 1}"}}),
            R"({"city": "x", "input": {"city": 1}})");
  EXPECT_EQ(write({{"input", false, "{}"}}, nullptr), R"({"input": {}})");
  const ToolSchema has_input({"t", R"({"parameters": {"properties": {"input": {}, "city": {}}}})"});
  EXPECT_EQ(write({{"input", false, "{\"city\": 1}"}}, &has_input), R"({"input": {"city": 1}})");
}

TEST(CallArguments, OnlyPlainStringsAreStreamed) {
  CallArguments arguments(&schema());
  std::string json;
  arguments.begin_parameter("city", true, json);
  arguments.add_value("Ro", json);
  EXPECT_EQ(json, R"({"city": "Ro)");
  arguments.end_parameter(json);
  arguments.begin_parameter("days", true, json);
  arguments.add_value("7", json);
  EXPECT_EQ(json, R"({"city": "Ro", "days": )");
  arguments.end_parameter(json);
  arguments.begin_parameter("x", false, json);
  arguments.add_value("[", json);
  EXPECT_EQ(json, R"({"city": "Ro", "days": 7, "x": )");
}

TEST(CallArguments, AParameterThatMayWrapAllIsHeldBackUntilItIsDecided) {
  CallArguments arguments(&schema());
  std::string json;
  arguments.begin_parameter("input", true, json);
  arguments.add_value("{}", json);
  arguments.end_parameter(json);
  EXPECT_EQ(json, "");
  arguments.begin_parameter("input", true, json);  // repeated, so it decides nothing
  EXPECT_EQ(json, "");
  arguments.begin_parameter("city", true, json);
  EXPECT_EQ(json, R"({"input": "{}", "city": ")");
}

}  // namespace
}  // namespace fathom::text
