#include "fathom/serve/wire/turn_memory.h"

#include <gtest/gtest.h>

namespace fathom::wire {
namespace {

engine::SampledToken token(std::string bytes, bool is_reasoning) {
  return {.id = 1, .bytes = std::move(bytes), .logprobs = {}, .is_reasoning = is_reasoning};
}

text::Message call_message(std::string arguments) {
  return {.role = text::Role::Assistant,
          .tool_calls = {{.id = "call_1", .name = "f", .arguments = std::move(arguments)}}};
}

ConversationStore& store_with(ConversationStore& store, text::Message message) {
  store.put("ann", {"call_1"}, {.conversation = {.messages = {std::move(message)}}});
  return store;
}

TEST(ReplyRecord, KeepsTheNewlinesThatClientsAreNotShown) {
  ReplyRecord record;
  record.add(token("\n", true));
  record.add(token("think\n\n", true));
  record.add(token("</think>", true));
  record.add(token("\n\nHello", false));
  EXPECT_EQ(record.exact_reasoning("think"), "\nthink\n\n");
  text::Reply reply;
  reply.reasoning = "think";
  reply.content = "Hello";
  const text::Message message = record.message(reply, {});
  EXPECT_EQ(message.reasoning, "\nthink\n\n");
  EXPECT_EQ(text_of(message), "\n\nHello");
}

TEST(ReplyRecord, WhatWasShownCountsWhereTokensSaySomethingElse) {
  ReplyRecord record;
  record.add(token("think<", true));
  record.add(token("｜DSML｜", true));
  EXPECT_EQ(record.exact_reasoning("think"), "think");
}

TEST(ReplyRecord, AnUnfinishedCallIsNoPartOfTheMessage) {
  text::Reply reply;
  reply.calls = {{.id = {}, .name = "f", .arguments = "{}"},
                 {.id = {}, .name = "g", .arguments = "{\"a"}};
  const text::Message message = ReplyRecord().message(reply, {"call_1", ""});
  ASSERT_EQ(message.tool_calls.size(), 1U);
  EXPECT_EQ(message.tool_calls[0].id, "call_1");
  EXPECT_EQ(message.tool_calls[0].name, "f");
}

TEST(AppendReply, GoesOnWithWhatTheClientBegan) {
  std::vector<text::Message> messages = {{.content = {{.text = "Hi"}}}};
  append_reply(messages, {.role = text::Role::Assistant, .content = {{.text = "one"}}});
  ASSERT_EQ(messages.size(), 2U);
  messages.back().ending = text::Ending::Prefix;
  append_reply(messages, {.role = text::Role::Assistant, .content = {{.text = " two"}}});
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_EQ(text_of(messages.back()), "one two");
  EXPECT_EQ(messages.back().ending, text::Ending::Closed);
}

TEST(RestoreTurns, LostReasoningComesBackAndArgumentsAreAsTheModelWroteThem) {
  ConversationStore store(10, 1 << 20);
  text::Message said = call_message(R"({"b": 1, "a": {"d": "x", "c": [2, 1]}})");
  said.reasoning = "\nthink";
  said.content = {{.text = "\n\nI call."}};
  store_with(store, said);
  std::vector<text::Message> messages = {call_message(R"({"a":{"c":[2,1],"d":"x"},"b":1})")};
  messages[0].content = {{.text = "I call."}};
  restore_turns(messages, store, "ann");
  EXPECT_EQ(messages[0].reasoning, "\nthink");
  messages[0].reasoning = "think";
  restore_turns(messages, store, "ann");
  EXPECT_EQ(messages[0].reasoning, "\nthink");
  EXPECT_EQ(messages[0].tool_calls[0].arguments, said.tool_calls[0].arguments);
  EXPECT_EQ(text_of(messages[0]), "\n\nI call.");
}

TEST(RestoreTurns, WhatTheClientChangedStaysChanged) {
  ConversationStore store(10, 1 << 20);
  text::Message said = call_message(R"({"list": [1, 2]})");
  said.reasoning = "think";
  store_with(store, said);
  std::vector<text::Message> messages = {call_message(R"({"list": [2, 1]})")};
  messages[0].reasoning = "mine";
  messages[0].content = {{.text = "other"}};
  restore_turns(messages, store, "ann");
  EXPECT_EQ(messages[0].reasoning, "mine");
  EXPECT_EQ(messages[0].tool_calls[0].arguments, R"({"list": [2, 1]})");
  EXPECT_EQ(text_of(messages[0]), "other");
}

TEST(RestoreTurns, NobodyGetsTheReasoningOfAnother) {
  ConversationStore store(10, 1 << 20);
  text::Message said = call_message("{}");
  said.reasoning = "secret";
  store_with(store, said);
  std::vector<text::Message> messages = {call_message("{}")};
  restore_turns(messages, store, "bob");
  EXPECT_EQ(messages[0].reasoning, "");
}

}  // namespace
}  // namespace fathom::wire
