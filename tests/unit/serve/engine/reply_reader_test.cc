#include "fathom/serve/engine/reply_reader.h"

#include <variant>

#include <gtest/gtest.h>

#include "tests/support/replay_engine.h"

namespace fathom::engine {
namespace {

using fathom::testing::ReplayEngine;
using fathom::testing::v4_text_model;

struct Heard {
  std::string reasoning;
  std::string content;
  std::string calls;  // name(arguments)
  Index num_tokens = 0;
  ChoiceEnd end;
  Usage usage;
};

Heard reply_to(GenerateRequest request, const std::string& script) {
  ReplayEngine engine(v4_text_model(),
                      {.reply = [&](const PreparedRequest&, Index) { return script; }});
  Heard heard;
  engine.submit(prepare(std::move(request), engine.text(), engine.limits()),
                [&](GenerateEvent&& event) {
                  if (auto* delta = std::get_if<ReplyDelta>(&event)) {
                    heard.num_tokens += delta->token ? 1 : 0;
                    for (const text::ReplyEvent& part : delta->events) {
                      using Kind = text::ReplyEvent::Kind;
                      (part.kind == Kind::Reasoning ? heard.reasoning
                       : part.kind == Kind::Content ? heard.content
                                                    : heard.calls) +=
                          part.kind == Kind::CallBegin ? part.text + "("
                          : part.kind == Kind::CallEnd ? ")"
                                                       : part.text;
                    }
                  } else if (auto* end = std::get_if<ChoiceEnd>(&event)) {
                    heard.end = std::move(*end);
                  } else if (auto* last = std::get_if<RequestEnd>(&event)) {
                    heard.usage = last->usage;
                  }
                });
  return heard;
}

GenerateRequest chat(bool thinking, bool has_tool) {
  text::Conversation conversation;
  conversation.messages = {{.role = text::Role::User, .content = {{.text = "Hi"}}}};
  if (has_tool) {
    conversation.tools = {{.name = "f", .function_json = R"({"name": "f"})"}};
  }
  GenerateRequest request;
  request.prompt = ChatPrompt{.conversation = conversation, .render = {.thinking = thinking}};
  return request;
}

constexpr const char* kTwoCalls =
    "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n"
    "<｜DSML｜parameter name=\"x\" string=\"false\">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
    "<｜DSML｜invoke name=\"f\">\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>";

TEST(ReplyReader, TokensOfReasoningAreCounted) {
  const Heard heard = reply_to(chat(true, false), "Let me see.</think>Yes.");
  EXPECT_EQ(heard.reasoning, "Let me see.");
  EXPECT_EQ(heard.content, "Yes.");
  EXPECT_EQ(heard.end.num_tokens, 8);  // with the tag and the end token
  EXPECT_EQ(heard.end.num_reasoning, 5);
  EXPECT_EQ(heard.num_tokens, heard.end.num_tokens);
  EXPECT_EQ(heard.usage.num_reasoning, heard.end.num_reasoning);
  EXPECT_EQ(heard.end.reply.finish, text::ReplyFinish::Stop);
}

TEST(ReplyReader, CallsAreRead) {
  std::string reply = "Two:";
  reply += kTwoCalls;
  const Heard heard = reply_to(chat(false, true), reply);
  EXPECT_EQ(heard.content, "Two:");
  EXPECT_EQ(heard.calls, "f({\"x\": 1})f({})");
  EXPECT_EQ(heard.end.reply.finish, text::ReplyFinish::ToolCalls);
}

TEST(ReplyReader, WithoutParallelCallsTheFirstIsTheLast) {
  GenerateRequest request = chat(false, true);
  request.allows_parallel_calls = false;
  const Heard heard = reply_to(std::move(request), kTwoCalls);
  EXPECT_EQ(heard.calls, "f({\"x\": 1})");
  EXPECT_EQ(heard.end.reply.finish, text::ReplyFinish::ToolCalls);
}

TEST(ReplyReader, AForcedCallBeginsInsideItsArguments) {
  GenerateRequest request = chat(false, true);
  request.tool_choice = ToolChoice::Named;
  request.named_tool = "f";
  const Heard heard = reply_to(
      std::move(request),
      "<｜DSML｜parameter name=\"x\" string=\"true\">y</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
      "</｜DSML｜tool_calls>");
  EXPECT_EQ(heard.calls, "f({\"x\": \"y\"})");
}

TEST(ReplyReader, AStopStringEndsTheReplyAndItsTokensAreNotAllUsed) {
  GenerateRequest request = chat(false, false);
  request.stop_strings = {"three"};
  const Heard heard = reply_to(std::move(request), "one two three four five six");
  EXPECT_EQ(heard.content, "one two ");
  EXPECT_EQ(heard.end.reply.stop_string_idx, 0);
  EXPECT_LT(heard.end.num_tokens, 6);
}

TEST(ReplyReader, TheLimitOfTokensIsALength) {
  GenerateRequest request = chat(false, false);
  request.max_tokens = 2;
  const Heard heard = reply_to(std::move(request), "one two three four");
  EXPECT_EQ(heard.end.num_tokens, 2);
  EXPECT_EQ(heard.end.reply.finish, text::ReplyFinish::Length);
}

TEST(ReplyReader, RawTextKeepsItsLeadingNewlines) {
  GenerateRequest request;
  request.prompt = TextPrompt{.text = "a"};
  EXPECT_EQ(reply_to(std::move(request), "\n\nb").content, "\n\nb");
  EXPECT_EQ(reply_to(chat(false, false), "\n\nb").content, "b");
}

TEST(ReplyReader, EndTokensMayBeIgnored) {
  GenerateRequest request;
  request.prompt = TextPrompt{.text = "a"};
  request.ignores_end = true;
  // Nor does any other token that ends replies.
  EXPECT_EQ(reply_to(std::move(request), "b<｜end▁of▁sentence｜>c<｜fim▁hole｜>d").content, "bcd");
}

}  // namespace
}  // namespace fathom::engine
