#include "fathom/serve/openai/responses_input.h"

#include <gtest/gtest.h>

#include "fathom/model/text/json_value.h"

#include "tests/support/expect_error.h"

namespace fathom::openai {
namespace {

using fathom::testing::fails_with;
using text::Message;
using text::Role;

wire::Service make_service(bool replaces_unsupported = false) {
  return wire::Service({{.name = "m"}}, {.replaces_unsupported = replaces_unsupported});
}

std::vector<Message> read(const std::string& json, wire::Service& service) {
  const text::JsonValue value = text::parse_json(json, "input");
  ResponsesTools tools;
  ResponsesInput input(service, "ann", tools);
  input.add(text::JsonField(&value, "input"));
  return input.messages();
}

std::vector<Message> read(const std::string& json) {
  wire::Service service = make_service();
  return read(json, service);
}

TEST(ResponsesInput, ATextIsAUsersMessage) {
  const std::vector<Message> messages = read(R"("Hi")");
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_EQ(messages[0].role, Role::User);
  EXPECT_EQ(text_of(messages[0]), "Hi");
}

TEST(ResponsesInput, DevelopersAreTheSystemAndATypeMayBeMissing) {
  const std::vector<Message> messages = read(
      R"([{"type": "message", "role": "developer", "content": [
             {"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
          {"role": "system", "content": "s"}, {"role": "user", "content": "u"},
          {"role": "assistant", "content": [{"type": "output_text", "text": "x", "annotations": []},
             {"type": "refusal", "refusal": "no"}]}])");
  ASSERT_EQ(messages.size(), 4U);
  EXPECT_EQ(messages[0].role, Role::System);
  EXPECT_EQ(text_of(messages[0]), "a\n\nb");
  EXPECT_EQ(messages[1].role, Role::System);
  EXPECT_EQ(messages[2].role, Role::User);
  EXPECT_EQ(text_of(messages[3]), "x\n\nno");
}

TEST(ResponsesInput, ReasoningTextAndCallsInARowAreOneMessage) {
  const std::vector<Message> messages = read(
      R"([{"role": "user", "content": "u"},
          {"type": "reasoning", "id": "rs_1", "summary": [],
           "content": [{"type": "reasoning_text", "text": "think"}], "encrypted_content": null},
          {"type": "message", "role": "assistant", "content": "I call."},
          {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\": 1}",
           "status": "completed"},
          {"type": "custom_tool_call", "call_id": "c2", "name": "p", "input": "raw \"text\""},
          {"type": "function_call", "call_id": "c3", "namespace": "n", "name": "g",
           "arguments": {"b": 2}},
          {"type": "web_search_call", "id": "ws_1"},
          {"type": "custom_tool_call_output", "call_id": "c2", "output": "done"},
          {"type": "function_call_output", "call_id": "c1",
           "output": [{"type": "input_text", "text": "20"}]},
          {"type": "function_call_output", "call_id": "c3", "output": {"ok": true}},
          {"type": "reasoning", "summary": [{"type": "summary_text", "text": "more"}]},
          {"type": "message", "role": "assistant", "content": "Done."}])");
  ASSERT_EQ(messages.size(), 6U);
  const Message& turn = messages[1];
  EXPECT_EQ(turn.reasoning, "think");
  EXPECT_EQ(text_of(turn), "I call.");
  ASSERT_EQ(turn.tool_calls.size(), 3U);
  EXPECT_EQ(turn.tool_calls[0].arguments, R"({"a": 1})");
  EXPECT_EQ(turn.tool_calls[1].arguments, R"({"input": "raw \"text\""})");
  EXPECT_EQ(turn.tool_calls[2].name, "n__g");
  EXPECT_EQ(turn.tool_calls[2].arguments, R"({"b": 2})");
  EXPECT_EQ(messages[2].role, Role::Tool);
  EXPECT_EQ(messages[2].tool_call_id, "c2");
  EXPECT_EQ(text_of(messages[3]), "20");
  EXPECT_EQ(text_of(messages[4]), R"({"ok": true})");
  EXPECT_EQ(messages[5].reasoning, "more");
  EXPECT_EQ(text_of(messages[5]), "Done.");
}

TEST(ResponsesInput, WhatComesAfterACompleteMessageIsAnother) {
  const std::vector<Message> messages = read(
      R"([{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"},
          {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]}])");
  ASSERT_EQ(messages.size(), 3U);
  EXPECT_EQ(text_of(messages[1]), "b");
  EXPECT_EQ(messages[2].reasoning, "t");
}

TEST(ResponsesInput, SealedReasoningIsWhatCountsIfItOpens) {
  wire::Service service = make_service();
  const auto reasoning = [&](const std::string& sealed, const std::string& summary) {
    return read(R"([{"type": "reasoning", "summary": [)" + summary +
                    R"(], "encrypted_content": ")" + sealed + "\"}]",
                service);
  };
  const std::string shown = R"({"type": "summary_text", "text": "shown"})";
  EXPECT_EQ(reasoning(service.seal().seal("ann", "\nexact"), shown)[0].reasoning, "\nexact");
  const std::string of_another = service.seal().seal("bob", "secret");
  EXPECT_EQ(reasoning(of_another, shown)[0].reasoning, "shown");
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "input[0].encrypted_content: expected what",
                         [&] { reasoning(of_another, ""); }));
}

TEST(ResponsesInput, CallsOfOtherServersToolsStay) {
  const std::vector<Message> messages = read(
      R"([{"type": "local_shell_call", "call_id": "c1", "action": {"command": ["ls"]}},
          {"type": "local_shell_call_output", "call_id": "c1", "output": "a.txt"},
          {"type": "tool_search_call", "call_id": "c2", "arguments": {"query": "q"}},
          {"type": "tool_search_output", "call_id": "c2",
           "tools": [{"type": "function", "name": "late"}]}])");
  ASSERT_EQ(messages.size(), 4U);
  EXPECT_EQ(messages[0].tool_calls[0].arguments, R"({"command": ["ls"]})");
  EXPECT_EQ(text_of(messages[1]), "a.txt");
  EXPECT_NE(text_of(messages[3]).find("late"), std::string::npos);
}

TEST(ResponsesInput, ItemsMayDeclareTools) {
  wire::Service service = make_service();
  const text::JsonValue value = text::parse_json(
      R"([{"type": "additional_tools", "role": "developer",
           "tools": [{"type": "function", "name": "more"}]}])",
      "input");
  ResponsesTools tools;
  ResponsesInput input(service, "", tools);
  input.add(text::JsonField(&value, "input"));
  EXPECT_NE(tools.find("more"), nullptr);
  EXPECT_TRUE(input.messages().empty());
}

TEST(ResponsesInput, AReferenceStandsForAStoredItemOfTheSameClient) {
  wire::Service service = make_service();
  service.store()->put("ann", {"msg_1"},
                       {.document = R"({"output": [{"id": "msg_1", "type": "message",
                        "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}]})"});
  service.store()->put("bob", {"msg_2"}, {.document = R"({"output": [{"id": "msg_2"}]})"});
  service.store()->put("ann", {"msg_3"},
                       {.document = R"({"output": [{"id": "msg_3"}]})", .is_retrievable = false});
  EXPECT_EQ(text_of(read(R"([{"type": "item_reference", "id": "msg_1"}])", service)[0]), "x");
  for (const std::string id : {"msg_2", "msg_3", "msg_4"}) {
    EXPECT_TRUE(
        fails_with(ErrorCode::InvalidArgument, "input[0].id: expected the id of an item",
                   [&] { read(R"([{"type": "item_reference", "id": ")" + id + "\"}]", service); }))
        << id;
  }
}

TEST(ResponsesInput, WhatIsWrongIsNamed) {
  const auto fails = [](ErrorCode code, const std::string& message, const std::string& json) {
    return fails_with(code, message, [&] { read(json); });
  };
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument, "input: expected a string or a list", "7"));
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument, "input[0]: expected an object", R"(["x"])"));
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument, "input[0].role: expected",
                    R"([{"role": "tool", "content": ""}])"));
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument, "input[0].content[0].text: expected a string",
                    R"([{"role": "user", "content": [{"type": "input_text"}]}])"));
  EXPECT_TRUE(fails(ErrorCode::Unsupported, "input[0].content[1]: expected text; this model",
                    R"([{"role": "user", "content": [{"type": "input_text", "text": ""},
                         {"type": "input_image", "image_url": "data:,"}]}])"));
  EXPECT_TRUE(fails(ErrorCode::Unsupported, "input[1].output[0]: expected text",
                    R"([{"type": "function_call", "call_id": "c", "name": "f", "arguments": ""},
                        {"type": "function_call_output", "call_id": "c",
                         "output": [{"type": "input_file"}]}])"));
  EXPECT_TRUE(fails(ErrorCode::InvalidArgument,
                    "input[0].call_id: expected the call_id of an earlier",
                    R"([{"type": "function_call_output", "call_id": "c", "output": ""}])"));
  EXPECT_TRUE(fails(ErrorCode::Unsupported, "input[0].type: items of type \"compaction\"",
                    R"([{"type": "compaction", "encrypted_content": "x"}])"));
}

TEST(ResponsesInput, UnsupportedContentBecomesAPlaceholderWhereThatIsAsked) {
  wire::Service service = make_service(true);
  EXPECT_EQ(
      text_of(read(R"([{"role": "user", "content": [{"type": "input_image"}]}])", service)[0]),
      "[Unsupported input_image]");
}

}  // namespace
}  // namespace fathom::openai
