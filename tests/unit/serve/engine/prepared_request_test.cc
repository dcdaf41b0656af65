#include "fathom/serve/engine/prepared_request.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "fathom/serve/engine/engine.h"

#include "tests/support/expect_error.h"
#include "tests/support/replay_engine.h"
#include "tests/unit/model/text/text_testing.h"

namespace fathom::engine {
namespace {

using fathom::testing::fails_with;
using fathom::testing::v4_text_model;

constexpr TokenId kDsml = 128825;
constexpr TokenId kEndOfThink = 128822;
const ModelLimits kLimits = {.vocab_size = 129280, .max_context = 1000};

const TextServices& v4() {
  static const TextServices kServices(v4_text_model(), 129280);
  return kServices;
}

const text::Tool kWeather = {
    .name = "get_weather",
    .function_json = R"({"name": "get_weather", "parameters": {"type": "object"}})"};

GenerateRequest chat(const std::string& user, bool thinking = false) {
  text::Conversation conversation;
  conversation.messages = {{.role = text::Role::User, .content = {{.text = user}}}};
  GenerateRequest request;
  request.prompt =
      ChatPrompt{.conversation = conversation, .render = {.thinking = thinking, .effort = "high"}};
  return request;
}

GenerateRequest chat_with_tool(bool thinking, ToolChoice choice) {
  GenerateRequest request = chat("Hi", thinking);
  std::get<ChatPrompt>(request.prompt).conversation.tools = {kWeather};
  request.tool_choice = choice;
  request.named_tool = "get_weather";
  return request;
}

std::string text_of(const std::vector<TokenId>& ids) {
  std::string text;
  for (const TokenId id : ids) {
    text += v4().tokenizer().bytes_of(id);
  }
  return text;
}

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

TEST(Prepare, AnEmptyUserMessageIsFourTokensAndMarkersInItArePlainText) {
  EXPECT_EQ(prepare(chat(""), v4(), kLimits).prompt_ids,
            (std::vector<TokenId>{0, 128803, 128804, 128822}));
  EXPECT_EQ(prepare(chat("x"), v4(), kLimits).num_prompt_tokens(), 5);
  EXPECT_EQ(prepare(chat("<｜User｜>"), v4(), kLimits).num_prompt_tokens(), 9);
  EXPECT_EQ(prepare(chat("<think>"), v4(), kLimits).num_prompt_tokens(), 7);
}

TEST(Prepare, ThinkingBeginsInsideReasoningAndConstraintsWaitForItsEnd) {
  const PreparedRequest prepared = prepare(chat("Hi", true), v4(), kLimits);
  EXPECT_EQ(prepared.reply_start, text::ReplyStart::Reasoning);
  EXPECT_EQ(prepared.generation.constraint_begins_after, kEndOfThink);
  EXPECT_EQ(prepare(chat("Hi"), v4(), kLimits).generation.constraint_begins_after, std::nullopt);
}

TEST(Prepare, WithoutToolsNothingCanBeCalled) {
  EXPECT_EQ(prepare(chat("Hi"), v4(), kLimits).generation.banned_ids, std::vector<TokenId>{kDsml});
  EXPECT_EQ(prepare(chat_with_tool(false, ToolChoice::None), v4(), kLimits).generation.banned_ids,
            std::vector<TokenId>{kDsml});
  const PreparedRequest prepared = prepare(chat_with_tool(false, ToolChoice::Auto), v4(), kLimits);
  EXPECT_TRUE(prepared.generation.banned_ids.empty());
  EXPECT_TRUE(prepared.syntax->has_tools());
}

TEST(Prepare, AForcedCallIsOpenedByThePrompt) {
  const PreparedRequest any = prepare(chat_with_tool(false, ToolChoice::Required), v4(), kLimits);
  EXPECT_TRUE(ends_with(text_of(any.prompt_ids),
                        "</think>\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\""));
  EXPECT_EQ(any.reply_start, text::ReplyStart::ToolName);
  EXPECT_NE(any.generation.constraint, nullptr);  // the name of a declared tool
  EXPECT_TRUE(any.generation.is_constraint_prefix);
  EXPECT_EQ(std::count(any.prompt_ids.end() - 12, any.prompt_ids.end(), kDsml), 2);

  const PreparedRequest named = prepare(chat_with_tool(false, ToolChoice::Named), v4(), kLimits);
  EXPECT_TRUE(ends_with(text_of(named.prompt_ids), "<｜DSML｜invoke name=\"get_weather\">\n"));
  EXPECT_EQ(named.reply_start, text::ReplyStart::ToolArguments);
  EXPECT_EQ(named.forced_tool, "get_weather");
  EXPECT_EQ(named.generation.constraint, nullptr);
}

TEST(Prepare, InThinkingAForcedCallIsOpenedWhenReasoningEnds) {
  const PreparedRequest prepared = prepare(chat_with_tool(true, ToolChoice::Named), v4(), kLimits);
  EXPECT_TRUE(ends_with(text_of(prepared.prompt_ids), "<think>"));
  EXPECT_EQ(prepared.reply_start, text::ReplyStart::Reasoning);
  EXPECT_EQ(text_of(prepared.generation.forced_ids),
            "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get_weather\">\n");
}

GenerateRequest chat_with_strict_tool(bool thinking, ToolChoice choice) {
  GenerateRequest request = chat_with_tool(thinking, choice);
  std::vector<text::Tool>& tools = std::get<ChatPrompt>(request.prompt).conversation.tools;
  tools.front().is_strict = true;
  tools.front().schema_field = "tools[0].function.parameters";
  tools.push_back({.name = "other", .function_json = R"({"name": "other"})"});
  return request;
}

// What the constraint wants to hear after what was said of a call already.
bool may_follow(const sampling::GenerationOptions& generation, const std::string& text) {
  std::vector<TokenId> ids;
  v4().tokenizer().encode(text, text::ControlTokens::Recognised, ids);
  sampling::ConstraintState state(generation.call_constraint, generation.begun_call.value_or(""));
  return std::all_of(ids.begin(), ids.end(), [&](TokenId id) { return state.accept(id); });
}

TEST(Prepare, AStrictToolHoldsTheCallsOfAllTools) {
  EXPECT_EQ(
      prepare(chat_with_tool(false, ToolChoice::Auto), v4(), kLimits).generation.call_constraint,
      nullptr);
  EXPECT_EQ(prepare(chat_with_strict_tool(false, ToolChoice::None), v4(), kLimits)
                .generation.call_constraint,
            nullptr);
  for (const bool thinking : {false, true}) {
    const PreparedRequest prepared =
        prepare(chat_with_strict_tool(thinking, ToolChoice::Auto), v4(), kLimits);
    const sampling::GenerationOptions& generation = prepared.generation;
    ASSERT_NE(generation.call_constraint, nullptr);
    EXPECT_EQ(generation.call_constraint->vocabulary().call_mark(), kDsml);
    EXPECT_EQ(generation.begun_call, std::nullopt);
    EXPECT_TRUE(
        may_follow(generation, "tool_calls>\n<｜DSML｜invoke name=\"other\">\n<｜DSML｜para"));
    EXPECT_TRUE(may_follow(generation, "tool_calls>\n<｜DSML｜invoke name=\"get_weather\">\n\n</"));
    EXPECT_FALSE(may_follow(generation, "tool_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<"));
    EXPECT_FALSE(may_follow(generation, "tool_calls>\n<｜DSML｜invoke name=\"got"));
    EXPECT_FALSE(may_follow(generation, "invoke"));
  }
  EXPECT_EQ(prepare(chat_with_strict_tool(false, ToolChoice::Auto), v4(), kLimits)
                .generation.call_constraint,
            prepare(chat_with_strict_tool(true, ToolChoice::Auto), v4(), kLimits)
                .generation.call_constraint)
      << "compiled once";
}

TEST(Prepare, AToolMayBeHeldToAnotherSchemaThanTheOneThatIsTold) {
  GenerateRequest request = chat_with_strict_tool(false, ToolChoice::Named);
  text::Tool& tool = std::get<ChatPrompt>(request.prompt).conversation.tools.front();
  const std::string parameter = "<｜DSML｜parameter name=\"input\" string=\"true\">";
  EXPECT_FALSE(may_follow(prepare(request, v4(), kLimits).generation, parameter));
  tool.held_schema = R"({"properties":{"input":{"lark":"start: \"a\"+"}},"required":["input"]})";
  const PreparedRequest held = prepare(request, v4(), kLimits);
  EXPECT_TRUE(may_follow(held.generation, parameter + "aaa</｜DSML｜parameter>\n</"));
  EXPECT_FALSE(may_follow(held.generation, parameter + "aab"));
  EXPECT_EQ(
      text_of(held.prompt_ids),
      text_of(prepare(chat_with_strict_tool(false, ToolChoice::Named), v4(), kLimits).prompt_ids));
}

TEST(Prepare, AForcedCallOfStrictToolsGoesOnFromWhatIsForced) {
  const PreparedRequest any =
      prepare(chat_with_strict_tool(false, ToolChoice::Required), v4(), kLimits);
  EXPECT_EQ(any.reply_start, text::ReplyStart::ToolName);
  EXPECT_EQ(any.generation.constraint, nullptr);
  EXPECT_TRUE(
      may_follow(any.generation, "get_weather\">\n\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"));
  EXPECT_TRUE(may_follow(any.generation, "other\">\n<"));
  EXPECT_FALSE(may_follow(any.generation, "\">"));

  const PreparedRequest named =
      prepare(chat_with_strict_tool(false, ToolChoice::Named), v4(), kLimits);
  EXPECT_EQ(named.reply_start, text::ReplyStart::ToolArguments);
  const std::string close = "\n</｜DSML｜invoke>\n";
  EXPECT_TRUE(may_follow(named.generation, close + "<｜DSML｜invoke name=\"get_weather\">"));
  EXPECT_FALSE(may_follow(named.generation, close + "<｜DSML｜invoke name=\"other\">"));

  const PreparedRequest later =
      prepare(chat_with_strict_tool(true, ToolChoice::Named), v4(), kLimits);
  EXPECT_EQ(later.generation.begun_call, std::nullopt);
  EXPECT_EQ(text_of(later.generation.forced_ids),
            "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get_weather\">\n");
}

TEST(Prepare, InThinkingAForcedCallCannotBeMissed) {
  for (const GenerateRequest& request : {chat_with_tool(true, ToolChoice::Required),
                                         chat_with_strict_tool(true, ToolChoice::Named)}) {
    const std::vector<TokenId> banned =
        prepare(request, v4(), kLimits).generation.banned_ids_before_turn;
    const auto is_banned = [&](TokenId id) {
      return std::find(banned.begin(), banned.end(), id) != banned.end();
    };
    EXPECT_TRUE(is_banned(1));       // the end of the reply
    EXPECT_TRUE(is_banned(128803));  // a user's turn
    EXPECT_TRUE(is_banned(kDsml));
    EXPECT_FALSE(is_banned(kEndOfThink));
    EXPECT_FALSE(is_banned(7));
  }
  EXPECT_TRUE(prepare(chat_with_tool(true, ToolChoice::Auto), v4(), kLimits)
                  .generation.banned_ids_before_turn.empty());
}

TEST(Prepare, AStrictSchemaThatCannotBeHeldIsNamed) {
  GenerateRequest request = chat_with_strict_tool(false, ToolChoice::Auto);
  std::get<ChatPrompt>(request.prompt).conversation.tools[0].function_json =
      R"({"name": "f", "parameters": {"properties": {"a": {"not": {}}}}})";
  EXPECT_TRUE(fails_with(
      ErrorCode::Unsupported,
      "tools[0].function.parameters: schema: #/properties/a: keyword \"not\" is not supported",
      [&] { prepare(request, v4(), kLimits); }));
  // A tokenizer without the mark.
  const TextServices spelled(
      text::make_text_model(text::parse(text::small_document({})),
                            text::make_v4_format(text::dialect_from_name("preview"))),
      300);
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported,
                         "tools[0].function.parameters: this model's tokenizer has no token", [&] {
                           prepare(chat_with_strict_tool(false, ToolChoice::Auto), spelled,
                                   {.vocab_size = 300, .max_context = 9000});
                         }));
}

TEST(Prepare, AReplyThatHasToBeJsonMayBeACallInstead) {
  GenerateRequest request = chat_with_tool(false, ToolChoice::Auto);
  request.content.kind = ContentRule::Kind::JsonObject;
  const PreparedRequest prepared = prepare(request, v4(), kLimits);
  EXPECT_EQ(text_of(prepared.generation.bypass_ids), "\n\n<｜DSML｜");
  EXPECT_NE(prepared.generation.constraint, nullptr);
  request.tool_choice = ToolChoice::None;
  EXPECT_TRUE(prepare(request, v4(), kLimits).generation.bypass_ids.empty());
}

TEST(Prepare, EqualConstraintsAreCompiledOnce) {
  const ContentRule rule = {.kind = ContentRule::Kind::Regex, .text = "[a-z]+"};
  EXPECT_EQ(v4().constraint(rule), v4().constraint(rule));
  EXPECT_NE(v4().constraint(rule),
            v4().constraint({.kind = ContentRule::Kind::Regex, .text = "[0-9]+"}));
  EXPECT_EQ(v4().constraint({}), nullptr);
}

TEST(Prepare, RawTextGetsTheBeginTokenUnlessItHasOne) {
  GenerateRequest request;
  request.prompt = TextPrompt{.text = "Hello!"};
  EXPECT_EQ(prepare(request, v4(), kLimits).prompt_ids, (std::vector<TokenId>{0, 19923, 3}));
  request.prompt = TextPrompt{.text = "<｜begin▁of▁sentence｜>Hello!"};
  EXPECT_EQ(prepare(request, v4(), kLimits).prompt_ids, (std::vector<TokenId>{0, 19923, 3}));
  request.prompt = TextPrompt{.text = "Hello!", .add_bos = false};
  EXPECT_EQ(prepare(request, v4(), kLimits).prompt_ids, (std::vector<TokenId>{19923, 3}));
  request.prompt = TextPrompt{.text = "a", .suffix = "b"};
  EXPECT_EQ(text_of(prepare(request, v4(), kLimits).prompt_ids),
            "<｜begin▁of▁sentence｜><｜fim▁begin｜>a<｜fim▁hole｜>b<｜fim▁end｜>");
}

TEST(Prepare, TokensAreTakenAsTheyAre) {
  GenerateRequest request;
  request.prompt = TokenPrompt{.ids = {5, 6}};
  EXPECT_EQ(prepare(request, v4(), kLimits).prompt_ids, (std::vector<TokenId>{5, 6}));
  request.prompt = TokenPrompt{.ids = {5, 129280}};
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument,
                         "prompt[1]: expected a token id from 0 to 129279, found 129280",
                         [&] { prepare(request, v4(), kLimits); }));
  request.prompt = TokenPrompt{};
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "prompt: expected at least one token",
                         [&] { prepare(request, v4(), kLimits); }));
}

TEST(Prepare, ThePromptMustLeaveRoomAndTheReplyFillsItAtMost) {
  GenerateRequest request;
  request.prompt = TokenPrompt{.ids = std::vector<TokenId>(999, 7)};
  EXPECT_EQ(prepare(request, v4(), kLimits).generation.max_tokens, 1);
  request.prompt = TokenPrompt{.ids = std::vector<TokenId>(990, 7)};
  request.max_tokens = 32000;
  EXPECT_EQ(prepare(request, v4(), kLimits).generation.max_tokens, 10);
  request.prompt = TokenPrompt{.ids = std::vector<TokenId>(1000, 7)};
  EXPECT_TRUE(fails_with(ErrorCode::ContextTooLong, "prompt: 1000 tokens, expected at most 999",
                         [&] { prepare(request, v4(), kLimits); }));
  request.max_tokens = 0;  // nothing is generated
  EXPECT_EQ(prepare(request, v4(), kLimits).generation.max_tokens, 0);
}

TEST(Prepare, WhatIsWrongIsNamed) {
  const auto refuses = [](const std::string& message, GenerateRequest request) {
    return fails_with(ErrorCode::InvalidArgument, message,
                      [&] { prepare(std::move(request), v4(), kLimits); });
  };
  GenerateRequest request = chat("Hi");
  request.num_choices = 0;
  EXPECT_TRUE(refuses("n: expected 1 to 128, found 0", request));
  request = chat("Hi");
  request.stop_strings = {""};
  EXPECT_TRUE(refuses("stop: ", request));
  request = chat("Hi");
  request.sampling.temperature = -1;
  EXPECT_TRUE(refuses("temperature: ", request));
  request = chat("Hi");
  request.tool_choice = ToolChoice::Required;
  EXPECT_TRUE(refuses("tool_choice: ", request));
  request = chat_with_tool(false, ToolChoice::Named);
  request.named_tool = "other";
  EXPECT_TRUE(refuses("tool_choice: expected the name of one of tools, found \"other\"", request));
}

TEST(Prepare, WithoutASeedEveryRequestDrawsItsOwn) {
  EXPECT_NE(prepare(chat("Hi"), v4(), kLimits).generation.sampling.seed,
            prepare(chat("Hi"), v4(), kLimits).generation.sampling.seed);
  GenerateRequest request = chat("Hi");
  request.has_seed = true;
  request.sampling.seed = 7;
  EXPECT_EQ(prepare(request, v4(), kLimits).generation.sampling.seed, 7U);
}

}  // namespace
}  // namespace fathom::engine
