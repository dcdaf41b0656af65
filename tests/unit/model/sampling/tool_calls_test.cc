#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "fathom/model/sampling/constraint.h"
#include "fathom/model/sampling/front_ends.h"
#include "fathom/model/text/chat_encoder.h"
#include "fathom/model/text/dialect.h"
#include "fathom/model/text/reply_parser.h"

#include "tests/support/accepts.h"
#include "tests/support/expect_error.h"
#include "tests/support/schema_oracle.h"
#include "tests/support/temp_dir.h"

namespace fathom::sampling {
namespace {

using testing::accepts;
using testing::fails_with;
using testing::is_beginning;
using testing::is_valid;
using Json = testing::PlainJson;
using OrderedJson = nlohmann::ordered_json;

constexpr std::string_view kDsml = "｜DSML｜";

const text::Dialect& dialect() {
  return text::dialect_from_name("preview");
}

CallMarkup markup() {
  const text::Dialect& names = dialect();
  return {.mark = std::string(kDsml),
          .calls = std::string(names.calls_tag),
          .invoke = std::string(names.invoke_tag),
          .parameter = std::string(names.parameter_tag)};
}

// With @ for the mark.
std::string marked(std::string text) {
  std::replace(text.begin(), text.end(), '@', kCallMark.front());
  return text;
}

CallableTool strict_tool(std::string name, std::string schema) {
  return {.name = std::move(name), .parameters = std::move(schema), .where = "tools[0].parameters"};
}

CallableTool free_tool(std::string name) {
  return {.name = std::move(name), .parameters = std::nullopt, .where = ""};
}

// A block of one call with these lines of parameters.
std::string block(std::string_view name, std::string_view parameters) {
  return marked("tool_calls>\n<@invoke name=\"" + std::string(name) + "\">\n" +
                std::string(parameters) + "\n</@invoke>\n</@tool_calls>");
}

std::string text_parameter(std::string_view name, std::string_view value) {
  return "<@parameter name=\"" + std::string(name) + "\" string=\"true\">" + std::string(value) +
         "</@parameter>";
}

std::string json_parameter(std::string_view name, std::string_view value) {
  return "<@parameter name=\"" + std::string(name) + "\" string=\"false\">" + std::string(value) +
         "</@parameter>";
}

// Accepts one call of a tool `f` with this schema.
bool matches(std::string_view schema, std::string_view parameters) {
  const std::vector<CallableTool> tools = {strict_tool("f", std::string(schema))};
  return accepts(parse_tool_calls(markup(), tools), block("f", parameters));
}

// What the encoder writes for a call, from behind the first mark to the end of the block.
std::string encoded(const text::ToolCall& call) {
  text::Conversation conversation;
  conversation.messages = {{.role = text::Role::User, .content = {{.text = "x"}}},
                           {.role = text::Role::Assistant, .tool_calls = {call}}};
  std::string all;
  const text::Prompt prompt = text::encode_v4(conversation, {.thinking = false}, dialect());
  for (const text::PromptPart& part : prompt) {
    std::string text = part.text;
    for (std::size_t at = 0; part.is_trusted && (at = text.find(kDsml, at)) != std::string::npos;) {
      text.replace(at, kDsml.size(), kCallMark);
    }
    all += text;
  }
  const std::size_t begin = all.find(kCallMark) + 1;
  return all.substr(begin, all.find("<｜end▁of▁sentence｜>") - begin);
}

// The calls of a block, as a client is told them.
text::Reply read_back(const std::string& block, const std::vector<text::Tool>& tools) {
  text::ReplyRules rules;
  rules.input = text::ReplyInput::Tokens;
  rules.tools = tools;
  text::ReplyParser parser(std::make_shared<const text::ReplySyntax>(rules),
                           text::ReplyStart::Content);
  parser.push_text("Well <");
  parser.push_control(kDsml);
  for (const char byte : block) {
    if (byte == kCallMark.front()) {
      parser.push_control(kDsml);
    } else {
      parser.push_text(std::string_view(&byte, 1));
    }
  }
  EXPECT_TRUE(parser.is_done());
  return parser.finish(text::ReplyEnd::Stop);
}

text::Tool declared(const std::string& name, const Json& schema) {
  return {.name = name,
          .function_json = Json({{"name", name}, {"parameters", schema}}).dump(),
          .is_strict = true};
}

// Walks to an end, soon on the shortest way there that a byte tells.
std::string random_calls(Automaton& automaton, std::mt19937& random) {
  std::string text;
  auto config = automaton.start();
  for (int length = 0; length < 6000; ++length) {
    if (automaton.accepts(config)) {
      return text;
    }
    std::string allowed;
    std::string closing;
    for (int byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      if (automaton.step(config, std::string_view(&c, 1)) == Automaton::kDead) {
        continue;
      }
      allowed += c;
      if (c == kCallMark.front() || c == '<' || c == '/' || c == '"' || c == ']' || c == '}') {
        closing += c;
      }
    }
    if (allowed.empty()) {
      return "dead end after " + text;
    }
    const std::string& from = !closing.empty() && random() % 3 == 0 ? closing : allowed;
    text += from[random() % from.size()];
    config = automaton.step(config, std::string_view(&text.back(), 1));
  }
  return "no end";
}

TEST(ToolCalls, RandomCallsUnderRandomSchemasAreReadBackValid) {
  std::mt19937 random(2026);
  int num_calls = 0;
  for (int round = 0; round < 200; ++round) {
    std::vector<CallableTool> tools;
    std::vector<text::Tool> declarations;
    std::map<std::string, Json> schemas;
    for (const char* name : {"get", "get_all"}) {
      Json schema = {
          {"type", "object"}, {"properties", Json::object()}, {"required", {"arguments"}}};
      for (const char* property : {"arguments", "é", "input"}) {
        schema["properties"][property] = testing::random_schema(random, 2);
      }
      schema["$defs"]["node"] = {
          {"type", "object"},
          {"properties", {{"v", {{"type", "integer"}}}, {"next", {{"$ref", "#/$defs/node"}}}}},
          {"required", {"v"}}};
      schema["additionalProperties"] = false;
      tools.push_back(strict_tool(name, schema.dump()));
      declarations.push_back(declared(name, schema));
      schemas[name] = schema;
    }
    Automaton automaton(parse_tool_calls(markup(), tools));
    for (int walk = 0; walk < 5; ++walk) {
      const std::string text = random_calls(automaton, random);
      ASSERT_FALSE(text.starts_with("dead end")) << text;
      if (text == "no end") {
        continue;
      }
      const text::Reply reply = read_back(text, declarations);
      ASSERT_EQ(reply.content, "Well ");
      ASSERT_FALSE(reply.calls.empty()) << text;
      for (const text::ToolCall& call : reply.calls) {
        ASSERT_TRUE(schemas.contains(call.name)) << call.name;
        ASSERT_TRUE(Json::accept(call.arguments)) << text << "\n" << call.arguments;
        const Json& schema = schemas.at(call.name);
        ASSERT_TRUE(is_valid(schema, Json::parse(call.arguments), schema)) << schema << "\n"
                                                                           << text << "\n"
                                                                           << call.arguments;
        ++num_calls;
      }
    }
  }
  EXPECT_GT(num_calls, 900);
}

// A call of the kept data, with the schema of its tool.
struct GoldenCall {
  std::string name;
  OrderedJson schema;
  text::ToolCall call;
};

void add_calls(const OrderedJson& document, std::vector<GoldenCall>& calls) {
  std::map<std::string, OrderedJson> schemas;
  const auto add_tools = [&](const OrderedJson& tools) {
    for (const OrderedJson& tool : tools.is_array() ? tools : OrderedJson::array()) {
      const OrderedJson& function = tool.contains("function") ? tool["function"] : tool;
      schemas[function.value("name", "")] =
          function.value("parameters", OrderedJson({{"type", "object"}}));
    }
  };
  add_tools(document.value("tools", OrderedJson()));
  for (const OrderedJson& message : document["messages"]) {
    add_tools(message.value("tools", OrderedJson()));
  }
  for (const OrderedJson& message : document["messages"]) {
    const OrderedJson list = message.value("tool_calls", OrderedJson());
    for (const OrderedJson& entry : list.is_array() ? list : OrderedJson::array()) {
      const OrderedJson& function = entry.contains("function") ? entry["function"] : entry;
      const OrderedJson& arguments = function["arguments"];
      const std::string name = function["name"];
      if (schemas.contains(name)) {
        calls.push_back({name,
                         schemas[name],
                         {.id = {},
                          .name = name,
                          .arguments = arguments.is_string() ? arguments.get<std::string>()
                                                             : arguments.dump()}});
      }
    }
  }
}

std::vector<GoldenCall> golden_calls() {
  const std::filesystem::path data(FATHOM_SOURCE_DIR "/tests/data");
  std::vector<GoldenCall> calls;
  for (const auto& entry : std::filesystem::directory_iterator(data / "golden/prompt-encoding")) {
    if (entry.path().extension() != ".json" || entry.path().stem() == "reply-cases") {
      continue;
    }
    const OrderedJson file = OrderedJson::parse(test::read_file(entry.path()));
    if (file.is_array() && file[0].contains("name")) {
      for (const OrderedJson& one : file) {
        add_calls(one, calls);
      }
    } else {
      add_calls(file.is_array() ? OrderedJson({{"messages", file}}) : file, calls);
    }
  }
  for (const auto& entry : std::filesystem::directory_iterator(data / "clients")) {
    std::ifstream lines(entry.path());
    std::string line;
    while (entry.path().extension() == ".jsonl" && std::getline(lines, line)) {
      const OrderedJson body = OrderedJson::parse(line)["request"]["body"];
      if (body.is_object() && body.contains("messages")) {
        add_calls(body, calls);
      }
    }
  }
  return calls;
}

// Valid, and in the order of the schema.
bool is_held_to(const OrderedJson& schema, const std::string& arguments) {
  if (!Json::accept(arguments) || !is_valid(Json(schema), Json::parse(arguments), Json(schema))) {
    return false;
  }
  std::vector<std::string> names;
  const OrderedJson properties = schema.value("properties", OrderedJson::object());
  for (const auto& [name, property] : properties.items()) {
    names.push_back(name);
  }
  auto place = names.begin();
  const OrderedJson given = OrderedJson::parse(arguments);
  for (const auto& [name, value] : given.items()) {
    place = std::find(place, names.end(), name);
    if (place == names.end()) {
      return false;
    }
  }
  return true;
}

TEST(ToolCalls, AcceptsWhatTheEncoderWritesForEveryValidCallThatIsKept) {
  int num_accepted = 0;
  int num_refused = 0;
  for (GoldenCall& golden : golden_calls()) {
    golden.schema["additionalProperties"] = false;
    const std::vector<CallableTool> tools = {strict_tool("other", "{}"),
                                             strict_tool(golden.name, golden.schema.dump())};
    const bool is_held = is_held_to(golden.schema, golden.call.arguments);
    const std::string text = encoded(golden.call);
    EXPECT_EQ(accepts(parse_tool_calls(markup(), tools), text), is_held) << golden.schema << "\n"
                                                                         << text;
    ++(is_held ? num_accepted : num_refused);
  }
  EXPECT_GT(num_accepted, 10);
  EXPECT_GT(num_refused, 2);
}

constexpr std::string_view kWeather = R"({"type":"object","properties":{
    "city":{"type":"string"},"days":{"type":"integer","minimum":1},"unit":{"enum":["C","F",null]}},
    "required":["city"],"additionalProperties":false})";

TEST(ToolCalls, ACallHasWhatTheSchemaSaysAndNothingElse) {
  const std::string city = text_parameter("city", "Rome");
  EXPECT_TRUE(matches(kWeather, city));
  EXPECT_TRUE(matches(kWeather, text_parameter("city", "")));
  EXPECT_TRUE(matches(kWeather, text_parameter("city", "a < b </b> \"q\"\n\n</")));
  EXPECT_TRUE(matches(kWeather, city + "\n" + json_parameter("days", "3")));
  EXPECT_TRUE(matches(kWeather, city + "\n" + text_parameter("unit", "C")));
  EXPECT_TRUE(matches(kWeather, city + "\n" + json_parameter("unit", "null")));
  // Missing, of the wrong type or value, of the wrong order, not listed, repeated.
  EXPECT_FALSE(matches(kWeather, ""));
  EXPECT_FALSE(matches(kWeather, json_parameter("days", "3")));
  EXPECT_FALSE(matches(kWeather, json_parameter("city", "3")));
  EXPECT_FALSE(matches(kWeather, json_parameter("city", "\"Rome\"")));
  EXPECT_FALSE(matches(kWeather, city + "\n" + json_parameter("days", "0")));
  EXPECT_FALSE(matches(kWeather, city + "\n" + text_parameter("days", "3")));
  EXPECT_FALSE(matches(kWeather, city + "\n" + text_parameter("unit", "K")));
  EXPECT_FALSE(matches(kWeather, json_parameter("days", "3") + "\n" + city));
  EXPECT_FALSE(matches(kWeather, city + "\n" + json_parameter("hours", "3")));
  EXPECT_FALSE(matches(kWeather, city + "\n" + city));
  EXPECT_FALSE(matches(kWeather, city + "\n"));
  EXPECT_FALSE(matches(kWeather, city + city));
}

TEST(ToolCalls, ABlockHasOneCallAtLeastAndOnlyOfTheTools) {
  const std::vector<CallableTool> tools = {strict_tool("get", "{}"), strict_tool("get_all", "{}")};
  Automaton automaton(parse_tool_calls(markup(), tools));
  EXPECT_TRUE(accepts(automaton, block("get", "")));
  EXPECT_TRUE(accepts(automaton, block("get_all", "")));
  EXPECT_TRUE(accepts(automaton, marked("tool_calls>\n<@invoke name=\"get\">\n\n</@invoke>\n"
                                        "<@invoke name=\"get_all\">\n\n</@invoke>\n"
                                        "</@tool_calls>")));
  EXPECT_FALSE(accepts(automaton, block("got", "")));
  EXPECT_FALSE(accepts(automaton, block("get_", "")));
  EXPECT_FALSE(accepts(automaton, marked("tool_calls>\n</@tool_calls>")));
  EXPECT_FALSE(is_beginning(automaton, marked("invoke name")));
  EXPECT_TRUE(is_beginning(automaton, call_beginning(markup())));
  EXPECT_TRUE(is_beginning(automaton, call_beginning(markup(), "get_all") + "\n"));
}

TEST(ToolCalls, BesideStrictToolsTheParametersOfOthersAreFree) {
  const std::vector<CallableTool> tools = {strict_tool("held", std::string(kWeather)),
                                           free_tool("loose")};
  Automaton automaton(parse_tool_calls(markup(), tools));
  EXPECT_TRUE(accepts(automaton, block("loose", "")));
  EXPECT_TRUE(accepts(automaton, block("loose", text_parameter("city", "x") + "\n" +
                                                    json_parameter("any thing", "[1, not JSON"))));
  EXPECT_FALSE(accepts(automaton, block("loose", "text")));
  EXPECT_FALSE(accepts(automaton, block("held", "")));
  EXPECT_TRUE(accepts(automaton, block("held", text_parameter("city", "x"))));
}

TEST(ToolCalls, StringsAreHeldAsTheyRead) {
  const auto holds = [](const std::string& schema, std::string_view value) {
    return matches(R"({"properties":{"s":)" + schema + R"(},"required":["s"]})",
                   text_parameter("s", value));
  };
  EXPECT_TRUE(holds(R"({"type":"string","maxLength":3})", "a\"é"));
  EXPECT_FALSE(holds(R"({"type":"string","maxLength":3})", "abcd"));
  EXPECT_FALSE(holds(R"({"type":"string","minLength":1})", ""));
  EXPECT_TRUE(holds(R"({"pattern":"^\"[a-z]+\\\\$"})", "\"ab\\"));
  EXPECT_FALSE(holds(R"({"pattern":"^\"[a-z]+\\\\$"})", "\\\"ab\\\\"));
  EXPECT_TRUE(holds(R"({"lark":"start: (/[a-z]+/ \"\\n\")~2"})", "a\nbc\n"));
  EXPECT_FALSE(holds(R"({"lark":"start: (/[a-z]+/ \"\\n\")~2"})", "a\\nbc\\n"));
  EXPECT_TRUE(holds(R"({"format":"date"})", "2026-11-26"));
  EXPECT_FALSE(holds(R"({"format":"date"})", "26 November"));
  EXPECT_TRUE(holds(R"({"const":"a\nb"})", "a\nb"));
  EXPECT_TRUE(holds(R"({"anyOf":[{"type":"integer"},{"enum":["x","y"]}]})", "y"));
  EXPECT_FALSE(holds(R"({"anyOf":[{"type":"integer"},{"enum":["x","y"]}]})", "3"));
  EXPECT_TRUE(holds("true", "anything"));
  EXPECT_FALSE(holds(R"({"type":["integer","null"]})", "3"));
}

TEST(ToolCalls, SchemasMayBeReferencesAndBranches) {
  const std::string_view schema = R"({"$ref":"#/$defs/root","$defs":{
      "root":{"anyOf":[{"type":"object","properties":{"a":{"$ref":"#/$defs/list"}},"required":["a"]},
                       {"type":"object","properties":{"b":{"type":"null"}},"required":["b"]}]},
      "list":{"type":"array","items":{"anyOf":[{"type":"string"},{"$ref":"#/$defs/list"}]}}}})";
  EXPECT_TRUE(matches(schema, json_parameter("a", R"(["x", [["y"]]])")));
  EXPECT_TRUE(matches(schema, json_parameter("b", "null")));
  EXPECT_FALSE(matches(schema, json_parameter("a", "[1]")));
  EXPECT_FALSE(matches(schema, json_parameter("a", "[]") + "\n" + json_parameter("b", "null")));
  EXPECT_TRUE(matches(R"({"type":"object"})", ""));
  EXPECT_TRUE(matches("true", ""));
}

TEST(ToolCalls, WhatCannotBeHeldIsAnErrorWithItsPlace) {
  const auto refuses = [](ErrorCode code, const std::string& message, const std::string& schema) {
    return fails_with(code, "tools[0].parameters: schema: " + message, [&] {
      const std::vector<CallableTool> tools = {strict_tool("f", schema)};
      Automaton automaton(parse_tool_calls(markup(), tools));
    });
  };
  EXPECT_TRUE(refuses(ErrorCode::Unsupported, "#/properties/a: keyword \"not\" is not supported",
                      R"({"properties":{"a":{"not":{}}}})"));
  EXPECT_TRUE(refuses(ErrorCode::Unsupported, "#/additionalProperties: expected false",
                      R"({"type":"object","additionalProperties":{"type":"string"}})"));
  EXPECT_TRUE(refuses(ErrorCode::Unsupported, "#/patternProperties: expected properties",
                      R"({"patternProperties":{"a":{}}})"));
  EXPECT_TRUE(refuses(ErrorCode::Unsupported, "#/properties/a\": a call cannot have",
                      R"({"properties":{"a\"":{}}})"));
  EXPECT_TRUE(refuses(ErrorCode::Unsupported, "#: minProperties and maxProperties",
                      R"({"properties":{"a":{}},"minProperties":1})"));
  EXPECT_TRUE(refuses(ErrorCode::Unsupported, "#: expected properties, found enum",
                      R"({"enum":[{"a":1}]})"));
  EXPECT_TRUE(refuses(ErrorCode::InvalidArgument, "#: nothing satisfies the schema: parameters",
                      R"({"type":"string"})"));
  EXPECT_TRUE(refuses(ErrorCode::InvalidArgument, "#/properties/a: nothing satisfies",
                      R"({"properties":{"a":false},"required":["a"]})"));
  EXPECT_TRUE(refuses(ErrorCode::InvalidArgument, "#: it begins with itself",
                      R"({"anyOf":[{"$ref":"#"},{"type":"object"}]})"));
  EXPECT_TRUE(
      refuses(ErrorCode::InvalidArgument, "list: it begins with itself",
              R"({"properties":{"a":{"lark":"start: list\nlist: a list | \"x\"\na: \"a\"?"}}})"));
  EXPECT_TRUE(refuses(ErrorCode::InvalidArgument, "expected JSON", "{"));
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported, "tools: a call cannot have a name", [&] {
    const std::vector<CallableTool> tools = {free_tool("a\"b")};
    parse_tool_calls(markup(), tools);
  }));
}

TEST(ToolCalls, WhatIsReadBackIsNotRepaired) {
  // Without strict, a parameter that the properties do not list would be taken for all arguments.
  const Json schema = Json::parse(R"({"anyOf":[{"type":"object","required":["arguments"],
      "properties":{"arguments":{"type":"object"}}}]})");
  const std::string call = block("f", json_parameter("arguments", "{}"));
  const std::vector<CallableTool> tools = {strict_tool("f", schema.dump())};
  EXPECT_TRUE(accepts(parse_tool_calls(markup(), tools), call));
  EXPECT_EQ(read_back(call, {declared("f", schema)}).calls.at(0).arguments, R"({"arguments": {}})");
}

TEST(ToolCalls, OptionalParametersThatNothingSatisfiesAreLeftOut) {
  EXPECT_TRUE(
      matches(R"({"properties":{"a":false,"b":{"type":"null"}}})", json_parameter("b", "null")));
}

TEST(ToolCalls, OnlyTheMarkIsTheMark) {
  // A token of that byte alone, which no text has, is not to be taken for it.
  const auto vocabulary = std::make_shared<const ConstraintVocabulary>(
      std::vector<std::string>{"", "\xff", "x\xff", "", "tool_calls>\n<",
                               "invoke name=\"f\">\n\n</"},
      std::vector<TokenId>{0}, TokenId{3});
  EXPECT_EQ(vocabulary->call_mark(), 3);
  const std::vector<CallableTool> tools = {strict_tool("f", "{}")};
  ConstraintState state(compile_tool_calls(markup(), tools, vocabulary));
  EXPECT_TRUE(state.accept(4));
  std::vector<std::uint32_t> mask(1);
  EXPECT_EQ(state.fill_mask(mask), 1);
  EXPECT_EQ(mask[0], 1U << 3);
  EXPECT_FALSE(state.accept(1));
  EXPECT_TRUE(state.accept(3));
  EXPECT_TRUE(state.accept(5));
  EXPECT_EQ(state.fill_mask(mask), 1);
  EXPECT_EQ(mask[0], 1U << 3);
}

TEST(ToolCalls, ACallMayStandInThePromptAlready) {
  const auto vocabulary = std::make_shared<const ConstraintVocabulary>(
      std::vector<std::string>{"", "", "f", "g", "\">\n"}, std::vector<TokenId>{0}, TokenId{1});
  const std::vector<CallableTool> tools = {strict_tool("f", "{}")};
  const ConstraintPtr calls = compile_tool_calls(markup(), tools, vocabulary);
  ConstraintState state(calls, call_beginning(markup()));
  EXPECT_FALSE(state.accept(3));
  EXPECT_TRUE(state.accept(2));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "constraint: no text of it begins with",
                         [&] { ConstraintState(calls, call_beginning(markup(), "g")); }));
}

}  // namespace
}  // namespace fathom::sampling
