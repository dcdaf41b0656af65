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

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
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

// A reply with text in place of control tokens.
const Syntax& tools_on() {
  static const Syntax syntax = compile(kTools);
  return syntax;
}

[[maybe_unused]] std::string arguments_of(const std::string& parameters, const std::string& tool = "get_weather") {
  const Reply reply =
      parse(tools_on(), "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"" + tool + "\">\n" +
                            parameters + "\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>");
  EXPECT_EQ(reply.calls.size(), 1U);
  EXPECT_EQ(reply.finish, ReplyFinish::ToolCalls);
  return reply.calls.empty() ? "" : reply.calls[0].arguments;
}

[[maybe_unused]] std::string parameter(const std::string& key,
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
      {}, {"END"}, {"\n\n", "END OF"}, {"<｜DSML｜tool_calls>\n", "lo\n\n<", "<｜DSML｜invoke"}};
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

}  // namespace
}  // namespace fathom::text
