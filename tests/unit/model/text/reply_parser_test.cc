#include "fathom/model/text/reply_parser.h"

#include <chrono>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/expect_error.h"
#include "tests/support/reply_generator.h"
#include "tests/support/reply_oracle.h"

namespace fathom::text {
namespace {

using fathom::testing::fails_with;
using test::OracleReply;
using test::ReplyGenerator;
using test::ReplyOracle;
using Json = nlohmann::ordered_json;
using Syntax = std::shared_ptr<const ReplySyntax>;

#ifdef FATHOM_SANITISED
constexpr Index kNumRandomReplies = 1000;
#else
constexpr Index kNumRandomReplies = 50000;
#endif
constexpr Index kSplitsPerReply = 21;

constexpr const char* kTools = R"([
  {"name": "get_weather", "parameters": {"type": "object", "properties": {
     "city": {"type": "string"}, "days": {"type": "integer"}, "opts": {"type": "object"},
     "tags": {"type": "array"}, "flag": {"type": "boolean"}, "any": {},
     "maybe": {"type": ["integer", "null"]}, "either": {"type": ["string", "number"]}}}},
  {"name": "write", "parameters": {"type": "object", "properties": {
     "path": {"type": "string"}, "text": {"type": "string"}}}},
  {"name": "search"},
  {"name": "wrap", "parameters": {"type": "object", "properties": {
     "input": {"type": "object"}, "arguments": {"type": "number"}, "city": {"type": "string"}}}}])";

Syntax compile(const std::string& tools, ReplyRules rules = {}) {
  if (!tools.empty()) {
    rules.tools = parse_tools(tools, "tools");
  }
  return std::make_shared<const ReplySyntax>(rules);
}

// A reply rebuilt from events, to be compared with the parser's own.
struct Rebuilt {
  std::string reasoning;
  std::string content;
  std::vector<ToolCall> calls;
  std::vector<bool> is_open;

  ::testing::AssertionResult add(const ReplyEvent& event) {
    using Kind = ReplyEvent::Kind;
    const bool is_last = event.call_idx == std::ssize(calls) - 1;
    switch (event.kind) {
      case Kind::Reasoning:
        reasoning += event.text;
        break;
      case Kind::Content:
        content += event.text;
        break;
      case Kind::CallBegin:
        if (event.call_idx != std::ssize(calls)) {
          return ::testing::AssertionFailure()
                 << "call " << event.call_idx << " begins out of order";
        }
        calls.push_back({.id = {}, .name = event.text, .arguments = {}});
        is_open.push_back(true);
        break;
      case Kind::CallArguments:
      case Kind::CallEnd:
        if (!is_last || !is_open.back()) {
          return ::testing::AssertionFailure()
                 << "event of call " << event.call_idx << ", not open";
        }
        calls.back().arguments += event.text;
        is_open.back() = event.kind != Kind::CallEnd;
    }
    return ::testing::AssertionSuccess();
  }
};

OracleReply summary(const Reply& reply) {
  OracleReply result{reply.reasoning, reply.content, {}, std::string(to_string(reply.finish))};
  for (const ToolCall& call : reply.calls) {
    result.calls.push_back({call.name, call.arguments});
  }
  return result;
}

std::string show(const OracleReply& reply) {
  Json calls = Json::array();
  for (const test::OracleCall& call : reply.calls) {
    calls.push_back({call.name, call.arguments});
  }
  return Json({reply.reasoning, reply.content, calls, reply.finish})
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Bytes of the oracle's control tokens are pushed as such.
void push(ReplyParser& parser, std::string_view piece) {
  while (!piece.empty()) {
    const std::size_t length = piece.find_first_of("\xf8\xf9\xfa");
    if (length == 0) {
      parser.push_control(piece[0] == test::kCloseByte[0]  ? "</think>"
                          : piece[0] == test::kOpenByte[0] ? "<think>"
                                                           : "｜DSML｜");
      piece.remove_prefix(1);
    } else {
      parser.push_text(piece.substr(0, length));
      piece.remove_prefix(std::min(length, piece.size()));
    }
  }
}

// Parses the pieces of a reply between the cuts; checks that the events are the reply.
Reply parse_pieces(const Syntax& syntax,
                   std::string_view raw,
                   const std::vector<std::size_t>& cuts,
                   ReplyStart start,
                   ReplyEnd end,
                   std::string_view forced_tool = {}) {
  ReplyParser parser(syntax, start, forced_tool);
  Rebuilt rebuilt;
  const auto take = [&] {
    for (const ReplyEvent& event : parser.take_events()) {
      EXPECT_TRUE(rebuilt.add(event));
    }
  };
  std::size_t begin = 0;
  for (const std::size_t cut : cuts) {
    push(parser, raw.substr(begin, cut - begin));
    take();
    begin = cut;
  }
  push(parser, raw.substr(begin));
  Reply reply = parser.finish(end);
  take();
  EXPECT_EQ(rebuilt.reasoning, reply.reasoning);
  EXPECT_EQ(rebuilt.content, reply.content);
  EXPECT_EQ(rebuilt.calls.size(), reply.calls.size());
  for (std::size_t i = 0; i < std::min(rebuilt.calls.size(), reply.calls.size()); ++i) {
    EXPECT_EQ(rebuilt.calls[i].name, reply.calls[i].name);
    EXPECT_EQ(rebuilt.calls[i].arguments, reply.calls[i].arguments);
  }
  return reply;
}

Reply parse(const Syntax& syntax,
            std::string_view raw,
            ReplyStart start = ReplyStart::Content,
            ReplyEnd end = ReplyEnd::Stop,
            std::string_view forced_tool = {}) {
  const Reply reply = parse_pieces(syntax, raw, {}, start, end, forced_tool);
  std::vector<std::size_t> all_cuts;
  for (std::size_t cut = 1; cut < raw.size(); ++cut) {
    all_cuts.push_back(cut);
  }
  const Reply bytewise = parse_pieces(syntax, raw, all_cuts, start, end, forced_tool);
  EXPECT_EQ(show(summary(bytewise)), show(summary(reply)));
  EXPECT_EQ(bytewise.num_bytes_after_end, reply.num_bytes_after_end);
  EXPECT_EQ(bytewise.stop_string_idx, reply.stop_string_idx);
  return reply;
}

Json golden_cases() {
  std::ifstream file(FATHOM_SOURCE_DIR "/tests/data/golden/prompt-encoding/reply-cases.json");
  return Json::parse(file);
}

const Syntax& tools_on() {
  static const Syntax syntax = compile(kTools);
  return syntax;
}

std::string arguments_of(const std::string& parameters, const std::string& tool = "get_weather") {
  const Reply reply =
      parse(tools_on(), "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"" + tool + "\">\n" +
                            parameters + "\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>");
  EXPECT_EQ(reply.calls.size(), 1U);
  EXPECT_EQ(reply.finish, ReplyFinish::ToolCalls);
  return reply.calls.empty() ? "" : reply.calls[0].arguments;
}

std::string parameter(const std::string& key,
                      const std::string& attribute,
                      const std::string& value) {
  return "<｜DSML｜parameter name=\"" + key + "\"" + attribute + ">" + value +
         "</｜DSML｜parameter>";
}
const std::string kString = " string=\"true\"";
const std::string kJson = " string=\"false\"";

TEST(ReplyParserGolden, EveryCaseAtEverySplitAndEveryPairOfSplits) {
  const Json golden = golden_cases();
  Index num_splits = 0;
  for (const bool has_tokens : {false, true}) {
    ReplyRules rules;
    rules.input = has_tokens ? ReplyInput::Tokens : ReplyInput::Text;
    const Syntax syntax = compile(golden["tools"].dump(), rules);
    for (const Json& entry : golden["cases"]) {
      OracleReply expected{entry["reasoning"], entry["content"], {}, entry["finish"]};
      for (const Json& call : entry["calls"]) {
        expected.calls.push_back({call["name"], call["arguments"]});
      }
      std::string raw = entry["reply"];
      if (has_tokens) {
        raw = test::replace_all(raw, "</think>", test::kCloseByte);
        raw = test::replace_all(raw, "｜DSML｜", test::kDsmlByte);
      }
      const ReplyStart start = reply_start_from_name(entry["start"].get<std::string>());
      const ReplyEnd end = reply_end_from_name(entry["end"].get<std::string>());
      const auto check = [&](const std::vector<std::size_t>& cuts) {
        ++num_splits;
        const OracleReply found = summary(parse_pieces(syntax, raw, cuts, start, end));
        ASSERT_EQ(show(found), show(expected)) << entry["name"];
      };
      check({});
      for (std::size_t cut = 0; cut <= raw.size(); ++cut) {
        check({cut});
      }
      for (std::size_t first = 0; first < raw.size() && raw.size() <= 250; ++first) {
        for (std::size_t second = first; second <= raw.size(); ++second) {
          check({first, second});
        }
      }
    }
  }
  RecordProperty("splits", std::to_string(num_splits));
  std::cout << num_splits << " splits of golden replies\n";
}

// Whether a reply without calls in other spellings shows markup. Only in text, where a dropped
// tag may join the pieces around it into another, is nothing said about content.
void expect_no_leak(const OracleReply& reply, const std::string& raw, bool has_tokens) {
  if (has_tokens && raw.find("｜DSML｜") == std::string::npos) {
    EXPECT_EQ(reply.content.find("｜DSML｜"), std::string::npos) << raw;
  }
  const bool has_other_forms =
      raw.find("DSML｜") != std::string::npos || raw.find("<invoke") != std::string::npos;
  if (has_tokens && !has_other_forms) {
    for (const test::OracleCall& call : reply.calls) {
      EXPECT_EQ(call.arguments.find("</｜DSML｜"), std::string::npos) << raw;
      EXPECT_EQ(call.name.find("｜DSML｜"), std::string::npos) << raw;
    }
  }
  if (has_tokens && raw.find("</think>") == std::string::npos) {
    EXPECT_EQ(reply.content.find("</think>"), std::string::npos) << raw;
    EXPECT_EQ(reply.reasoning.find("</think>"), std::string::npos) << raw;
  }
}

TEST(ReplyParserRandom, AMillionSplitsOfSoundAndBrokenRepliesEqualTheOracleAndLeakNothing) {
  const auto begin = std::chrono::steady_clock::now();
  ReplyGenerator generator(20261123);
  const std::vector<std::vector<std::string>> stop_lists = {
      {},
      {"END"},
      {"\n\n", "END OF", "ND O"},
      {"<｜DSML｜tool_calls>\n", "lo\n\n<", "<｜DSML｜invoke"},
      {"</think>X", "DSML｜ca", "calls>\n<in", "</think>\n"}};
  struct Setting {
    Syntax syntax;
    ReplyOracle oracle;
    bool has_tokens;
  };
  std::vector<Setting> settings;
  for (const auto& stops : stop_lists) {
    for (const bool has_tokens : {false, true}) {
      for (const bool has_tools : {true, true, true, false}) {
        ReplyRules rules;
        rules.input = has_tokens ? ReplyInput::Tokens : ReplyInput::Text;
        rules.stop_strings = stops;
        settings.push_back(
            {compile(has_tools ? kTools : "", rules),
             ReplyOracle(has_tools ? Json::parse(kTools) : Json(), stops, has_tokens), has_tokens});
      }
    }
  }
  Index num_splits = 0;
  Index num_calls = 0;
  for (Index i = 0; i < kNumRandomReplies && !HasFailure(); ++i) {
    Setting& setting = settings[generator.below(settings.size())];
    std::string raw = generator.make();
    raw = setting.has_tokens ? raw : test::spell(raw);
    const bool is_reasoning = generator.chance(50);
    const bool is_length = generator.chance(30);
    const OracleReply expected = setting.oracle.parse(raw, is_reasoning, is_length);
    num_calls += std::ssize(expected.calls);
    for (Index split = 0; split < kSplitsPerReply; ++split) {
      std::vector<std::size_t> cuts(split == 0 ? 0 : generator.below(6));
      for (std::size_t& cut : cuts) {
        cut = generator.below(raw.size() + 1);
      }
      std::sort(cuts.begin(), cuts.end());
      ++num_splits;
      const OracleReply found = summary(parse_pieces(
          setting.syntax, raw, cuts, is_reasoning ? ReplyStart::Reasoning : ReplyStart::Content,
          is_length ? ReplyEnd::Length : ReplyEnd::Stop));
      ASSERT_TRUE(found == expected)
          << "reply " << i << ": " << Json(test::spell(raw)).dump() << "\ntokens "
          << setting.has_tokens << " tools " << setting.syntax->has_tools() << " start "
          << is_reasoning << " length " << is_length << "\nfound    " << show(found)
          << "\nexpected " << show(expected);
    }
    if (setting.syntax->has_tools()) {
      expect_no_leak(expected, raw, setting.has_tokens);
    }
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  std::cout << num_splits << " splits of " << kNumRandomReplies << " replies with " << num_calls
            << " calls in " << seconds.count() << " s\n";
  EXPECT_GT(num_calls, kNumRandomReplies / 4);
}

// A plain writer of blocks, to read back what it writes.
std::string write_block(const std::vector<std::pair<std::string, Json>>& calls) {
  std::string block = "\n\n<｜DSML｜tool_calls>";
  for (const auto& [name, arguments] : calls) {
    block += "\n<｜DSML｜invoke name=\"" + name + "\">\n";
    for (const auto& [key, value] : arguments.items()) {
      block += parameter(key, value.is_string() ? kString : kJson,
                         value.is_string() ? value.get<std::string>() : value.dump()) +
               "\n";
    }
    block += "</｜DSML｜invoke>";
  }
  return block + "\n</｜DSML｜tool_calls>";
}

TEST(ReplyParser, WrittenCallsAreReadBack) {
  const std::vector<std::pair<std::string, Json>> calls = {
      {"get_weather",
       Json::parse(R"({"city": "R\u00f6m\n\"</\\", "days": 3, "opts": {"a": [null, 1.5]}})")},
      {"write", Json::object()},
      {"unknown", Json::parse(R"({"x": true, "y": "7", "z": ""})")}};
  const Reply reply =
      parse(tools_on(), "why</think>Look." + write_block(calls), ReplyStart::Reasoning);
  EXPECT_EQ(reply.reasoning, "why");
  EXPECT_EQ(reply.content, "Look.");
  EXPECT_EQ(reply.num_bytes_after_end, 0);
  ASSERT_EQ(reply.calls.size(), calls.size());
  for (std::size_t i = 0; i < calls.size(); ++i) {
    EXPECT_EQ(reply.calls[i].name, calls[i].first);
    EXPECT_EQ(Json::parse(reply.calls[i].arguments), calls[i].second);
  }
}

// P1
TEST(ReplyParser, WhatIsHeldAtTheEndIsTextUnlessItIsATagCutShort) {
  for (const char* text :
       {"2 <", "x\n\n</thin", "x\n", "<｜DSM", "<DSM", "<tool_calls", "<invoke name="}) {
    EXPECT_EQ(parse(tools_on(), text).content, text);
    EXPECT_EQ(parse(tools_on(), text, ReplyStart::Reasoning).reasoning, text);
  }
  for (const char* tag :
       {"<DSML｜", "<DSML｜tool_c", "<tool_calls>", "<tool_calls>\n <inv", "<invoke name=\"wri"}) {
    EXPECT_EQ(parse(tools_on(), "x\n\n" + std::string(tag)).content, "x") << tag;
  }
  EXPECT_EQ(parse(tools_on(), "x\n<｜DSML｜invoke name=\"wri", ReplyStart::Reasoning).reasoning,
            "x");
  const Syntax stop = compile(kTools, {.stop_strings = {"x<tool_calls>y"}});
  EXPECT_EQ(parse(stop, "ax<tool_calls>").content, "ax");
  EXPECT_EQ(parse(tools_on(), "see <tool_calls> there").content, "see <tool_calls> there");
}

TEST(ReplyParser, BlockWithoutACallBecomesContentWithoutMarkup) {
  const Reply closed =
      parse(tools_on(), "hm\n<｜DSML｜tool_calls>\nx</think></｜DSML｜tool_calls>tail");
  EXPECT_EQ(closed.content, "hm<tool_calls>\nx</tool_calls>");
  EXPECT_EQ(closed.finish, ReplyFinish::Stop);
  EXPECT_TRUE(closed.has_broken_block);
  EXPECT_EQ(closed.num_bytes_after_end, 4);
  const std::string open = "hm<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"wr";
  EXPECT_EQ(parse(tools_on(), open).content, "hm<tool_calls>\n<invoke name=\"wr");
  const Reply cut = parse(tools_on(), open, ReplyStart::Content, ReplyEnd::Length);
  EXPECT_EQ(cut.content, "hm");
  EXPECT_EQ(cut.finish, ReplyFinish::Length);
  EXPECT_EQ(parse(tools_on(), "<｜DSML｜ ｜DS｜DSML｜ML｜ x").content, "<  x");
}

// P4
TEST(ReplyParser, CallWithAWholeNameIsClosedAtTheEnd) {
  const std::string begin = "<｜DSML｜invoke name=\"get_weather\">\n";
  for (const auto& [rest, arguments] : std::vector<std::pair<std::string, std::string>>{
           {"", "{}"},
           {"<｜DSML｜parameter name=\"ci", "{}"},
           {"<｜DSML｜parameter name=\"city\" string=\"tr", "{}"},
           {"<｜DSML｜parameter name=\"city\" string=\"true\">Ro</｜DS", R"({"city": "Ro"})"},
           {"<｜DSML｜parameter name=\"days\" string=\"false\"> 3", R"({"days": 3})"}}) {
    const Reply reply = parse(tools_on(), begin + rest);
    ASSERT_EQ(reply.calls.size(), 1U) << rest;
    EXPECT_EQ(reply.calls[0].arguments, arguments);
    EXPECT_EQ(reply.finish, ReplyFinish::ToolCalls);
  }
}

TEST(ReplyParser, NothingIsClosedWhenTheReplyIsTooLong) {
  const std::string begin = "<｜DSML｜invoke name=\"get_weather\">\n";
  for (const auto& [rest, arguments] : std::vector<std::pair<std::string, std::string>>{
           {"", ""},
           {"<｜DSML｜parameter name=\"city\" string=\"true\">Ro</｜DS", R"({"city": "Ro)"},
           {"<｜DSML｜parameter name=\"days\" string=\"false\"> 3", R"({"days": )"},
           {parameter("city", kString, "Rome"), R"({"city": "Rome")"}}) {
    const Reply reply = parse(tools_on(), begin + rest, ReplyStart::Content, ReplyEnd::Length);
    ASSERT_EQ(reply.calls.size(), 1U) << rest;
    EXPECT_EQ(reply.calls[0].arguments, arguments);
    EXPECT_EQ(reply.finish, ReplyFinish::Length);
    EXPECT_EQ(reply.content, "");
  }
}

// P5
TEST(ReplyParser, NextCallClosesTheOneBefore) {
  const Reply reply = parse(tools_on(), "<｜DSML｜invoke name=\"a\"><｜DSML｜invoke name=\"b\">");
  ASSERT_EQ(reply.calls.size(), 2U);
  EXPECT_EQ(reply.calls[0].arguments, "{}");
  EXPECT_EQ(reply.calls[1].name, "b");
}

TEST(ReplyParser, ParameterWithoutATypeIsAString) {
  EXPECT_EQ(arguments_of(parameter("city", "", "5") + parameter("days", "", "5") +
                         parameter("any", " string=\"no\"", "5")),
            R"({"city": "5", "days": 5, "any": "5"})");
}

// P6
TEST(ReplyParser, AllThreeWrappersAndALeadingSpaceAreAccepted) {
  for (const std::string wrapper : {"tool_calls", "function_calls", " calls"}) {
    for (const std::string prefix : {"｜DSML｜", "DSML｜", ""}) {
      const Reply reply = parse(
          tools_on(), "x\n\n<" + prefix + wrapper + ">\n<" + prefix + " invoke name=\"write\">\n<" +
                          prefix + " parameter name=\"path\" string=\"true\">p</" + prefix +
                          "parameter>\n</" + prefix + "invoke>\n</" + prefix + wrapper + ">tail");
      EXPECT_EQ(reply.content, "x");
      ASSERT_EQ(reply.calls.size(), 1U);
      EXPECT_EQ(reply.calls[0].arguments, R"({"path": "p"})");
      EXPECT_EQ(reply.num_bytes_after_end, 4);
    }
  }
}

// P7
TEST(ReplyParser, OtherSpellingsNeedADeclaredToolInContent) {
  const std::string nope = "x\n<tool_calls>\n<invoke name=\"nope\">\n</invoke>\n</tool_calls>";
  EXPECT_EQ(parse(tools_on(), nope).content, nope);
  const std::string mixed = "x\n<tool_calls>\n<DSML｜invoke name=\"write\">\n</DSML｜invoke>";
  EXPECT_EQ(parse(tools_on(), mixed).content, "x\n<tool_calls>");
  const std::string plain = "x<invoke name=\"write\"></invoke>";
  EXPECT_EQ(parse(tools_on(), plain, ReplyStart::Reasoning).reasoning, plain);
  EXPECT_EQ(parse(tools_on(), plain).calls.size(), 1U);
  EXPECT_EQ(parse(tools_on(), "<tool_calls>\n<tool_calls>\n<invoke name=\"write\">").content,
            "<tool_calls>");
}

TEST(ReplyParser, AmongTokensSpelledMarkupIsTextUnlessADeclaredToolFollows) {
  const Syntax syntax = compile(kTools, {.input = ReplyInput::Tokens});
  const std::string text = "a</think> <｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"nope\">";
  EXPECT_EQ(parse(syntax, text).content, text);
  const Reply reply = parse(syntax, "a<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"write\">\n" +
                                        parameter("path", kString, "p\xfa") + "</｜DSML｜invoke>");
  EXPECT_EQ(reply.content, "a");
  ASSERT_EQ(reply.calls.size(), 1U);
  EXPECT_EQ(reply.calls[0].arguments, "{\"path\": \"p｜DSML｜\"}");
  EXPECT_EQ(parse(syntax,
                  "a\xfa"
                  "b</\xfaparameter>")
                .content,
            "ab</parameter>");
}

TEST(ReplyParser, BesideAStrictToolOnlyTheFormThatCallsAreHeldToIsACall) {
  ReplyRules rules = {.input = ReplyInput::Tokens, .tools = parse_tools(kTools, "tools")};
  rules.tools->at(2).is_strict = true;
  const auto syntax = std::make_shared<const ReplySyntax>(rules);
  for (const std::string prefix : {"", "DSML｜", "｜DSML｜"}) {
    const std::string text = "a<" + prefix + "tool_calls>\n<" + prefix +
                             "invoke name=\"search\">\n</" + prefix + "invoke>";
    EXPECT_EQ(parse(syntax, text).content, text);
  }
  const Reply reply = parse(syntax, "a<\xfatool_calls>\n<\xfainvoke name=\"search\">\n</\xfa");
  EXPECT_EQ(reply.content, "a");
  ASSERT_EQ(reply.calls.size(), 1U);
}

TEST(ReplyParser, TheArgumentsOfAStrictToolAreTakenAsTheyAre) {
  const auto arguments = [](bool is_strict) {
    ReplyRules rules = {.tools = parse_tools(kTools, "tools")};
    rules.tools->at(0).is_strict = is_strict;
    const std::string calls = "<｜DSML｜tool_calls><｜DSML｜invoke name=\"get_weather\">" +
                              parameter("days", kString, "5") + "</｜DSML｜invoke>";
    return parse(std::make_shared<const ReplySyntax>(rules), calls).calls.at(0).arguments;
  };
  EXPECT_EQ(arguments(false), R"({"days": 5})");
  EXPECT_EQ(arguments(true), R"({"days": "5"})");
}

// P8
TEST(ReplyParser, WithoutToolsABlockIsText) {
  const std::string text = "a\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"write\">";
  EXPECT_EQ(parse(compile(""), text).content, text);
  EXPECT_EQ(parse(compile("", {.input = ReplyInput::Tokens}), "a<\xfatool").content,
            "a<｜DSML｜tool");
}

// P9
TEST(ReplyParser, LeadingNewlinesAreDroppedBeforeStopStringsAreMatched) {
  const Syntax syntax = compile(kTools, {.stop_strings = {"\n\n", "END"}});
  const Reply reply = parse(syntax, "\n\n\nHi\n\nthere");
  EXPECT_EQ(reply.content, "Hi");
  EXPECT_EQ(reply.stop_string_idx, 0);
  EXPECT_EQ(reply.num_bytes_after_end, 5);
  EXPECT_EQ(parse(syntax, "\n\n</think>\n\nHi").content, "Hi");
}

TEST(ReplyParser, StopStringBeatsABlockAtTheSamePlace) {
  const std::string reply = "Hi\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"write\">";
  for (const char* stop :
       {"\n\n", "\n<", "<", "<｜DSML｜", "<｜DSML｜tool_calls>\n", "i\n\n<｜DSML｜t"}) {
    const Reply parsed = parse(compile(kTools, {.stop_strings = {stop}}), reply);
    EXPECT_TRUE(parsed.calls.empty()) << stop;
    EXPECT_EQ(parsed.stop_string_idx, 0) << stop;
    EXPECT_EQ(parsed.content, reply.substr(0, reply.find(stop))) << stop;
  }
  for (const char* stop : {"<｜DSML｜tool_callsX", "i\n\n<｜DSML｜x", "tool_calls", "write"}) {
    const Reply parsed = parse(compile(kTools, {.stop_strings = {stop}}), reply);
    EXPECT_EQ(parsed.calls.size(), 1U) << stop;
    EXPECT_EQ(parsed.content, "Hi") << stop;
  }
  // Waiting for a longer stop string, one that begins inside the opening tag does not count.
  const Syntax inner =
      compile(kTools, {.stop_strings = {"<｜DSML｜invoke name=\"write\"> and", "invoke"}});
  EXPECT_EQ(parse(inner, "<｜DSML｜invoke name=\"write\"> an").calls.size(), 1U);
  const Syntax undecided =
      compile(kTools, {.stop_strings = {"<｜DSML｜invoke name=\"write\"> and"}});
  EXPECT_EQ(parse(undecided, "<｜DSML｜invoke name=\"write\"> an").calls.size(), 1U);
}

TEST(ReplyParser, StopStringsCountInContentOnly) {
  const Syntax syntax = compile(kTools, {.stop_strings = {"END"}});
  const Reply reply =
      parse(syntax, "END</think>x" + write_block({{"write", Json::parse(R"({"text": "END"})")}}),
            ReplyStart::Reasoning);
  EXPECT_EQ(reply.reasoning, "END");
  EXPECT_EQ(reply.content, "x");
  EXPECT_EQ(reply.calls.size(), 1U);
}

TEST(ReplyParser, NewlinesBeforeADroppedTagAreKept) {
  EXPECT_EQ(parse(tools_on(), "a\n\n</think>\n\nb").content, "a\n\n\n\nb");
  EXPECT_EQ(parse(tools_on(), "a\n<think>b</think>c", ReplyStart::Reasoning).reasoning, "a\nb");
  const Reply reply = parse(compile("", {.stop_strings = {"</think>X", "aX"}}), "a</think>Xb");
  EXPECT_EQ(reply.content, "aXb");  // no stop string spans a dropped tag
}

// P10
TEST(ReplyParser, OpeningThinkTagIsDropped) {
  const Reply reply =
      parse(tools_on(), "<think>\na<think>b</think>c<think>d</think>e", ReplyStart::Reasoning);
  EXPECT_EQ(reply.reasoning, "ab");
  EXPECT_EQ(reply.content, "cde");
}

// P11
TEST(ReplyParser, BrokenUtf8IsReplacedEverywhere) {
  const Reply reply = parse(tools_on(),
                            "a\xe4\xbd</think>b\xf0\x9f\n<｜DSML｜invoke name=\"n\x80\">" +
                                parameter("k\xc3", kString, "v\xe4") + "\n",
                            ReplyStart::Reasoning);
  EXPECT_EQ(reply.reasoning, "a\ufffd");
  EXPECT_EQ(reply.content, "b\ufffd");
  EXPECT_EQ(reply.calls[0].name, "n\ufffd");
  EXPECT_EQ(reply.calls[0].arguments, "{\"k\ufffd\": \"v\ufffd\"}");
}

TEST(ReplyParser, EventsHoldWholeCharacters) {
  ReplyParser parser(tools_on(), ReplyStart::Content);
  parser.push_text("\xf0\x9f");
  EXPECT_TRUE(parser.take_events().empty());
  parser.push_text("\x99\x82");
  EXPECT_EQ(parser.take_events().at(0).text, "🙂");
}

TEST(ReplyParser, MarkupInNamesIsDropped) {
  const Reply reply = parse(tools_on(),
                            "<｜DSML｜invoke name=\"a｜DSML｜b\"><｜DSML｜parameter "
                            "name=\"x<｜DSML｜y\" string=\"true\">v");
  EXPECT_EQ(reply.calls[0].name, "ab");
  EXPECT_EQ(reply.calls[0].arguments, R"({"x<y": "v"})");
}

// P12
TEST(ReplyParser, ForcedCallBeginsInsideTheBlock) {
  const std::string rest =
      parameter("city", kString, "Rome") + "\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>";
  const Reply any = parse(tools_on(), "get_weather\">\n" + rest, ReplyStart::ToolName);
  const Reply named =
      parse(tools_on(), rest, ReplyStart::ToolArguments, ReplyEnd::Stop, "get_weather");
  for (const Reply& reply : {any, named}) {
    ASSERT_EQ(reply.calls.size(), 1U);
    EXPECT_EQ(reply.calls[0].name, "get_weather");
    EXPECT_EQ(reply.calls[0].arguments, R"({"city": "Rome"})");
    EXPECT_EQ(reply.finish, ReplyFinish::ToolCalls);
  }
  EXPECT_EQ(parse(tools_on(), "\nget_wea", ReplyStart::ToolName).content, "get_wea");
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "needs tools",
                         [] { ReplyParser(compile(""), ReplyStart::ToolName); }));
}

// P13
TEST(ReplyParser, JsonModeKeepsTheJsonOnly) {
  ReplyRules rules{.stop_strings = {"END", "\"}\n"}, .finds_json = true};
  const Syntax syntax = compile(kTools, rules);
  EXPECT_EQ(parse(syntax, "Sure END:\n```json\n{\"a\": [\"</think>1\"]}\n```\nEND").content,
            "{\"a\": [\"1\"]}");
  const Reply stopped = parse(syntax, "{\"a\": \"END\"}tail");
  EXPECT_EQ(stopped.content, "{\"a\": \"");
  EXPECT_EQ(stopped.stop_string_idx, 0);
  const Reply call = parse(syntax, "{\"a\": 1} then\n\n<｜DSML｜invoke name=\"write\">");
  EXPECT_EQ(call.content, "{\"a\": 1}");
  EXPECT_EQ(call.calls.size(), 1U);
}

TEST(ReplyParser, ControlTokenThatIsNoMarkerEndsTheReply) {
  ReplyParser parser(compile(kTools, {.input = ReplyInput::Tokens}), ReplyStart::Content);
  parser.push_text("Hi");
  EXPECT_FALSE(parser.is_done());
  parser.push_control("<｜User｜>");
  EXPECT_TRUE(parser.is_done());
  parser.push_text("more");
  const Reply reply = parser.finish(ReplyEnd::Length);
  EXPECT_EQ(reply.content, "Hi");
  EXPECT_EQ(reply.finish, ReplyFinish::Stop);
  EXPECT_EQ(reply.num_bytes_after_end, 4);
}

TEST(ReplyParser, ParserIsDoneAfterTheBlock) {
  ReplyParser parser(tools_on(), ReplyStart::Content);
  parser.push_text("<｜DSML｜invoke name=\"write\"></｜DSML｜invoke></｜DSML｜tool_calls");
  EXPECT_FALSE(parser.is_done());
  parser.push_text(">");
  EXPECT_TRUE(parser.is_done());
}

TEST(ReplyParser, PlainFamiliesHaveContentOnly) {
  const Syntax syntax =
      compile("", {.think_tags = ThinkTags::None, .stop_strings = {"<|im_end|>"}});
  const Reply reply = parse(syntax, "a</think><think>\n<｜DSML｜b<|im_end|>x");
  EXPECT_EQ(reply.content, "a</think><think>\n<｜DSML｜b");
  EXPECT_EQ(reply.reasoning, "");
}

TEST(ReplyParser, LeadingThinkTagOpensReasoningWhereTheFamilySaysSo) {
  const Syntax syntax = compile("", {.think_tags = ThinkTags::Leading});
  const Reply reply = parse(syntax, "\n<think>\nwhy\n</think>\n\nHi<think>!");
  EXPECT_EQ(reply.reasoning, "why");
  EXPECT_EQ(reply.content, "Hi!");
  EXPECT_EQ(parse(syntax, "Hi <think>x</think>y").content, "Hi xy");
}

TEST(ReplyParser, NothingMayFollowTheEnd) {
  ReplyParser parser(tools_on(), ReplyStart::Content);
  parser.finish(ReplyEnd::Stop);
  EXPECT_TRUE(fails_with(ErrorCode::Internal, "is_finished_", [&] { parser.push_text("x"); }));
  EXPECT_TRUE(
      fails_with(ErrorCode::Internal, "is_finished_", [&] { parser.finish(ReplyEnd::Stop); }));
}

TEST(ReplyParser, NamesOfStartsAndEndsAreChecked) {
  EXPECT_EQ(reply_start_from_name("reasoning"), ReplyStart::Reasoning);
  EXPECT_EQ(reply_end_from_name("length"), ReplyEnd::Length);
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "expected reasoning or content",
                         [] { reply_start_from_name("tools"); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "expected stop or length",
                         [] { reply_end_from_name(""); }));
}

// Each would take hours if held symbols were searched again at every byte.
TEST(ReplyParser, TimeIsLinearOnHostileReplies) {
  constexpr Index kLength = 1 << 20;
  const auto repeat = [](std::string_view piece) {
    std::string text;
    while (std::ssize(text) < kLength) {
      text += piece;
    }
    return text;
  };
  const Syntax syntax =
      compile(kTools, {.stop_strings = {std::string(200000, 'a') + "b", "\n\n\n\n\n\nx"}});
  const auto begin = std::chrono::steady_clock::now();
  for (const std::string& text :
       {repeat("\n") + ".", repeat("a"), repeat("<｜DSML"), repeat("<tool_calls>\n"),
        "<tool_calls>" + repeat(" \n"), repeat("</think>"), repeat("<invoke name=\"writ"),
        "<｜DSML｜" + repeat("invoke name="),
        "<｜DSML｜invoke name=\"write\">" + repeat("parameter name="),
        "<｜DSML｜invoke name=\"write\">" + repeat(parameter("a", kJson, "[")),
        "<｜DSML｜invoke name=\"write\"><｜DSML｜parameter name=\"a\" string=\"false\">" +
            repeat("[</｜DSML")}) {
    for (const ReplyStart start : {ReplyStart::Reasoning, ReplyStart::Content}) {
      ReplyParser parser(syntax, start);
      for (const char letter : text) {
        parser.push_text(std::string_view(&letter, 1));
      }
      parser.finish(ReplyEnd::Stop);
    }
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(seconds.count(), 60);  // 3 s in release; slack for sanitisers and busy machines
}

}  // namespace
}  // namespace fathom::text
