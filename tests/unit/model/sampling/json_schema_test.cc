#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "fathom/model/sampling/front_ends.h"

#include "tests/support/accepts.h"
#include "tests/support/expect_error.h"
#include "tests/support/schema_oracle.h"

namespace fathom::sampling {
namespace {

using testing::accepts;
using testing::fails_with;
using testing::is_valid;
using Json = testing::PlainJson;
using testing::random_schema;

bool matches(std::string_view schema, std::string_view text) {
  return accepts(parse_json_schema(schema), text);
}

// Walks byte by byte until the text may end; soon always towards an end where there is one.
std::string random_text(Automaton& automaton, std::mt19937& random) {
  std::string text;
  auto config = automaton.start();
  for (int length = 0; length < 3000; ++length) {
    if (automaton.accepts(config) && random() % 3 == 0) {
      return text;
    }
    std::vector<char> allowed;
    std::vector<char> closing;
    for (int byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      if (automaton.step(config, std::string_view(&c, 1)) != Automaton::kDead) {
        allowed.push_back(c);
        if (c == '"' || c == ']' || c == '}') {
          closing.push_back(c);
        }
      }
    }
    if (allowed.empty()) {
      return automaton.accepts(config) ? text : "dead end after " + text;
    }
    const auto& from = !closing.empty() && random() % 4 == 0 ? closing : allowed;
    text += from[random() % from.size()];
    config = automaton.step(config, std::string_view(&text.back(), 1));
  }
  return "no end";
}

TEST(JsonSchema, RandomWalksUnderRandomSchemasEndInValidDocuments) {
  std::mt19937 random(2026);
  int num_documents = 0;
  for (int round = 0; round < 300; ++round) {
    Json schema = random_schema(random, 3);
    schema["$defs"]["node"] = {
        {"type", "object"},
        {"properties", {{"v", {{"type", "integer"}}}, {"next", {{"$ref", "#/$defs/node"}}}}},
        {"required", {"v"}}};
    Automaton automaton(parse_json_schema(schema.dump()));
    for (int walk = 0; walk < 10; ++walk) {
      const std::string text = random_text(automaton, random);
      if (text == "no end") {
        continue;
      }
      ASSERT_TRUE(Json::accept(text)) << schema << "\n" << text;
      ASSERT_TRUE(is_valid(schema, Json::parse(text), schema)) << schema << "\n" << text;
      ++num_documents;
    }
  }
  EXPECT_GT(num_documents, 2900);
}

TEST(JsonSchema, PropertiesComeInOrderAndOptionalOnesMayBeLeftOut) {
  const std::string_view schema = R"({"type":"object","properties":{"a":{"type":"integer"},
    "b":{"type":"string"},"c":{"type":"null"}},"required":["b"]})";
  EXPECT_TRUE(matches(schema, R"({"a":1,"b":"x","c":null})"));
  EXPECT_TRUE(matches(schema, "{\n  \"a\": 1,\n  \"b\": \"x\"\n}"));
  EXPECT_TRUE(matches(schema, R"({ "b": "x" })"));
  EXPECT_FALSE(matches(schema, R"({"a":1})"));
  EXPECT_FALSE(matches(schema, R"({"b":"x","a":1})"));
  EXPECT_FALSE(matches(schema, R"({"b":"x","d":1})"));
  EXPECT_FALSE(matches(schema, R"({"b":"x",})"));
  EXPECT_FALSE(matches(schema, R"({"b":"x"} )"));
}

TEST(JsonSchema, AdditionalPropertiesCannotRepeatAListedName) {
  const std::string_view schema = R"({"properties":{"ab":{"type":"integer"},"a":{"type":"integer"}},
    "additionalProperties":{"type":"string"}})";
  for (const char* good :
       {"{}", R"({"ab":1,"a":2,"abc":"x","b":"y"})", R"({"":"x"})", R"({"b":"x","é":"y"})"}) {
    EXPECT_TRUE(matches(schema, good)) << good;
  }
  for (const char* bad : {R"({"a":"x"})", R"({"ab":"x"})", R"({"\u0061":"x"})", R"({"b":1})"}) {
    EXPECT_FALSE(matches(schema, bad)) << bad;
  }
}

struct Example {
  const char* schema;
  const char* text;
  bool is_accepted;
};

TEST(JsonSchema, KeywordsMeanWhatTheSpecificationSays) {
  const Example examples[] = {
      {"true", "[1, {\"a\":null}]", true},
      {"{}", "\"x\"", true},
      {R"({"const":{"a":[1,"x"]}})", R"({"a":[1,"x"]})", true},
      {R"({"const":1,"enum":[1,2]})", "1", true},
      {R"({"const":1,"enum":[1,2]})", "2", false},
      {R"({"enum":["a","ab","b"]})", "\"ab\"", true},
      {R"({"enum":["a","ab","b"]})", "\"abc\"", false},
      {R"({"enum":[1,"a"],"type":"string"})", "1", false},
      {R"({"type":["string","null"]})", "null", true},
      {R"({"type":["string","null"]})", "1", false},
      {R"({"minLength":2})", "\"é\"", false},
      {R"({"minLength":2})", "\"éa\"", true},
      {R"({"pattern":"b"})", "\"abc\"", true},
      {R"({"pattern":"^b"})", "\"abc\"", false},
      {R"({"pattern":"^a|c$"})", "\"xc\"", true},
      {R"({"pattern":"^a|c$"})", "\"xb\"", false},
      {R"({"pattern":"^.\"$"})", R"("a\"")", true},
      {R"({"pattern":"^\\n$"})", R"("\n")", true},
      {R"({"lark":"start: \"a\\\"\" start?"})", R"("a\"a\"")", true},
      {R"({"lark":"start: \"a\\\"\" start?"})", R"("a\"a")", false},
      {R"({"lark":"start: /./ \"\\n\""})", R"("é\n")", true},
      {R"({"format":"date"})", "\"2026-11-23\"", true},
      {R"({"format":"date"})", "\"2026-13-23\"", false},
      {R"({"format":"date"})", "\"2026-02-30\"", false},
      {R"({"format":"date"})", "\"2026-12-31\"", true},
      {R"({"format":"date-time"})", "\"2026-11-23T21:00:00.5+01:00\"", true},
      {R"({"format":"uuid"})", "\"123e4567-e89b-12d3-a456-426614174000\"", true},
      {R"({"format":"ipv4"})", "\"255.1.20.199\"", true},
      {R"({"format":"ipv4"})", "\"256.1.1.1\"", false},
      {R"({"format":"email"})", "\"a.b@example.org\"", true},
      {R"({"format":"uri"})", "\"https://example.org/a?b=c#d\"", true},
      {R"({"type":"integer","format":"int64","maximum":9223372036854775807})", "12", true},
      {R"({"type":"number","multipleOf":0.01})", "1.25", true},
      {R"({"type":"number","multipleOf":0.01})", "1.255", false},
      {R"({"type":"integer","multipleOf":5})", "35", true},
      {R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}]})", "[1,\"a\"]",
       true},
      {R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}]})", "[1]", true},
      {R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}]})", "[1,\"a\",2]",
       false},
      {R"({"prefixItems":[{"type":"integer"}],"items":{"type":"null"},"minItems":2})", "[1]",
       false},
      {R"({"prefixItems":[{"type":"integer"}],"items":{"type":"null"},"minItems":2})",
       "[1,null,null]", true},
      {R"({"prefixItems":[{"type":"integer"},{"type":"integer"}],"maxItems":1})", "[1,2]", false},
      {R"({"type":"array","maxItems":0})", "[]", true},
      {R"({"type":"array","maxItems":0})", "[1]", false},
      {R"({"type":"array","minItems":1})", "[]", false},
      {R"({"type":"array","items":false})", "[]", true},
      {R"({"type":"object","minProperties":1,"maxProperties":2})", "{}", false},
      {R"({"type":"object","minProperties":1,"maxProperties":2})", R"({"a":1,"b":2})", true},
      {R"({"type":"object","minProperties":1,"maxProperties":2})", R"({"a":1,"b":2,"c":3})", false},
      {R"({"patternProperties":{"^x_":{"type":"integer"}}})", R"({"x_a":1})", true},
      {R"({"patternProperties":{"^x_":{"type":"integer"}}})", R"({"y":1})", false},
      {R"({"type":"object","propertyNames":{"maxLength":1}})", R"({"a":1})", true},
      {R"({"type":"object","propertyNames":{"maxLength":1}})", R"({"ab":1})", false},
      {R"({"properties":{"a":false}})", "{}", true},
      {R"({"properties":{"a":false}})", R"({"a":1})", false},
      {R"({"type":"object","required":["z"]})", R"({"z":1})", true},
      {R"({"allOf":[{"type":"number","minimum":2},{"type":"integer","maximum":5}]})", "3", true},
      {R"({"allOf":[{"type":"number","minimum":2},{"type":"integer","maximum":5}]})", "3.5", false},
      {R"({"allOf":[{"enum":[1,2,3]},{"enum":[2,3,4]}],"const":3})", "2", false},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},
           "anyOf":[{"required":["a"]},{"required":["b"]}]})",
       R"({"b":1})", true},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},
           "anyOf":[{"required":["a"]},{"required":["b"]}]})",
       "{}", false},
      {R"({"oneOf":[{"type":"string"},{"type":"integer"}]})", "1", true},
      {R"({"allOf":[{"minLength":1},{"minLength":3}]})", "\"ab\"", false},
      {R"({"allOf":[{"maxItems":1},{"maxItems":3}]})", "[1,2]", false},
      {R"({"allOf":[{"required":["a"]},{"required":["b"]}],"properties":{"a":{},"b":{}}})",
       R"({"b":1})", false},
      {R"({"oneOf":[{"properties":{"k":{"const":"a"},"x":{"type":"null"}},"required":["k"]},
                    {"properties":{"k":{"const":"b"}},"required":["k"]}]})",
       R"({"k":"b"})", true},
      {R"({"$ref":"#/$defs/n","$defs":{"n":{"properties":{"next":{"$ref":"#/$defs/n"}}}}})",
       R"({"next":{"next":{}}})", true},
      {R"({"$ref":"#/$defs/n","description":"d","$defs":{"n":{"type":"null"}}})", "null", true},
      {R"({"$ref":"#/$defs/n","minimum":3,"$defs":{"n":{"type":"integer"}}})", "2", false},
  };
  for (const Example& example : examples) {
    EXPECT_EQ(matches(example.schema, example.text), example.is_accepted)
        << example.schema << " " << example.text;
  }
}

TEST(JsonSchema, WhatIsNotSupportedIsAnErrorWithItsPlace) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"properties":{"a":{"not":{}}}})",
       "schema: #/properties/a: keyword \"not\" is not supported"},
      {R"({"if":{}})", "keyword \"if\""},
      {R"({"type":"string","foo":1})", "schema: #: keyword \"foo\""},
      {R"({"items":{"contains":{}}})", "schema: #/items: keyword \"contains\""},
      {R"({"uniqueItems":true})", "#/uniqueItems"},
      {R"({"format":"iri"})", "#/format: format \"iri\""},
      {R"({"pattern":"(?=a)b"})", "#/pattern: look-around"},
      {R"({"pattern":"a","minLength":1})", "only one is supported"},
      {R"({"pattern":"a","lark":"start: \"a\""})", "only one is supported"},
      {R"({"lark":"%declare A"})", "schema: #/lark: of lines that begin with %"},
      {R"({"enum":["a"],"minLength":1})", "keyword \"minLength\" beside enum"},
      {R"({"type":"integer","multipleOf":3,"minimum":1})", "#/multipleOf"},
      {R"({"oneOf":[{"type":"number"},{"type":"integer"}]})",
       "schema: #/oneOf: a value may satisfy both"},
      {R"({"$ref":"http://example.org/x"})", "#/$ref"},
      {R"({"allOf":[{"pattern":"a"},{"pattern":"b"}]})", "two different pattern"},
      {R"({"properties":{"a":{}},"minProperties":1})", "only without properties"},
      {R"({"allOf":[{"properties":{"a":{}},"additionalProperties":false},{"properties":{"b":{}}}]})",
       "property \"b\" meets additionalProperties"},
      {R"({"allOf":[{"$ref":"#"}]})", "without end"},
      {R"({"type":"string","maxLength":2000000})", "#/maxLength"},
      {R"({"minimum":1e30})", "#/minimum"},
  };
  for (const auto& [schema, part] : cases) {
    EXPECT_TRUE(fails_with(ErrorCode::Unsupported, part, [&] { parse_json_schema(schema); }))
        << schema;
  }
}

TEST(JsonSchema, WhatCannotBeSatisfiedOrReadIsAnErrorWithItsReason) {
  const std::pair<const char*, const char*> cases[] = {
      {"false", "nothing satisfies the schema: it is false"},
      {R"({"enum":[]})", "no value of enum or const"},
      {R"({"properties":{"a":{"minLength":5,"maxLength":2}},"required":["a"]})",
       "schema: #/properties/a: nothing satisfies the schema: minLength 5 is greater than "
       "maxLength 2"},
      {R"({"allOf":[{"type":"string"},{"type":"integer"}]})", "it allows no type"},
      {R"({"allOf":[{"const":1},{"const":2}]})", "no value of enum or const"},
      {R"({"type":"integer","minimum":5,"maximum":4})", "minimum is greater than maximum"},
      {R"({"type":"integer","exclusiveMinimum":4,"exclusiveMaximum":5})", "no number lies within"},
      {R"({"type":"array","minItems":3,"maxItems":2})", "minItems 3"},
      {R"({"prefixItems":[{}],"minItems":2})", "minItems 2"},
      {R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", "contain itself"},
      {R"({"$ref":"#"})", "contain itself"},
      {R"({"type":"object","required":["b"],"properties":{"a":{}},"additionalProperties":false})",
       "it is false"},
      {R"({"type":"strin"})", "schema: #/type: expected null, boolean"},
      {R"({"properties":{"a":{"minLength":-1}}})",
       "#/properties/a/minLength: expected a whole number"},
      {R"({"required":"a"})", "#/required: expected an array of strings"},
      {R"({"anyOf":[]})", "#/anyOf: expected an array of one schema"},
      {R"({"$ref":"#/nope"})", "expected a reference to a schema"},
      {R"({"pattern":"("})", "#/pattern: expected )"},
      {R"({"lark":1})", "#/lark: expected a string"},
      {R"({"lark":"start: a"})", "schema: #/lark: \"a\" is not defined at line 1, column 8"},
      {R"({"lark":"start: start"})", "#/lark: nothing satisfies the schema: no text is of the"},
      {R"({"type":)", "schema: expected JSON"},
      {"[]", "expected an object, true or false"},
      {"\"\xFF\"", "UTF-8"},
  };
  for (const auto& [schema, part] : cases) {
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, part, [&] { parse_json_schema(schema); }))
        << schema;
  }
}

TEST(JsonSchema, HostileSchemasAreRefusedOrCompiledInBounds) {
  std::string deep;
  for (int i = 0; i < 20'000; ++i) {
    deep += R"({"items":)";
  }
  EXPECT_TRUE(
      fails_with(ErrorCode::Unsupported, "nested deeper", [&] { parse_json_schema(deep); }));
  Json chain = {{"$ref", "#/$defs/d0"}};
  for (int i = 0; i < 5000; ++i) {
    chain["$defs"]["d" + std::to_string(i)] = {{"$ref", "#/$defs/d" + std::to_string(i + 1)}};
  }
  chain["$defs"]["d5000"] = {{"type", "null"}};
  EXPECT_TRUE(matches(chain.dump(), "null"));
  Json wide = {{"type", "object"}};
  for (int i = 0; i < 3000; ++i) {
    wide["properties"]["p" + std::to_string(i)] = {{"type", "string"}};
  }
  EXPECT_TRUE(matches(wide.dump(), R"({"p2999":"x"})"));
  Json values = Json::array();
  for (int i = 0; i < 20'000; ++i) {
    values.push_back("value number " + std::to_string(i));
  }
  EXPECT_TRUE(matches(Json({{"enum", values}}).dump(), "\"value number 777\""));
  Json product = {{"$ref", "#/$defs/d0"}};
  for (int i = 0; i < 30; ++i) {
    const Json next = {{"$ref", "#/$defs/d" + std::to_string(i + 1)}};
    product["$defs"]["d" + std::to_string(i)] = {{"allOf", {next, next}}};
  }
  product["$defs"]["d30"] = {{"type", "null"}};
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported, "multiply it",
                         [&] { parse_json_schema(product.dump()); }));
}

}  // namespace
}  // namespace fathom::sampling
