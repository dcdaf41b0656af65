#include "fathom/serve/anthropic/message_blocks.h"

#include <gtest/gtest.h>

#include "fathom/model/text/json_value.h"

#include "tests/support/expect_error.h"

namespace fathom::anthropic {
namespace {

using fathom::testing::fails_with;
using text::Message;
using text::Role;

wire::Service make_service(bool replaces_unsupported = false) {
  return wire::Service({{.name = "m"}}, {.replaces_unsupported = replaces_unsupported});
}

std::vector<Message> read(const std::string& json, const wire::Service& service) {
  const text::JsonValue value = text::parse_json(json, "messages");
  MessageBlocks blocks(service, "ann");
  blocks.add(text::JsonField(&value, "messages"));
  return blocks.messages();
}

std::vector<Message> read(const std::string& json) {
  return read(json, make_service());
}

std::string user_text(const std::string& blocks, bool replaces_unsupported = false) {
  return text_of(read(R"([{"role": "user", "content": [)" + blocks + "]}]",
                      make_service(replaces_unsupported))[0]);
}

std::string system_text(const std::string& json) {
  const text::JsonValue value = text::parse_json(json, "system");
  return text::text_of(Message{.content = read_system(text::JsonField(&value, "system"))});
}

TEST(MessageBlocks, TextMayBeAStringOrBlocksAndSystemMayBeAmongMessages) {
  const std::vector<Message> messages = read(
      R"([{"role": "user", "content": "a"},
          {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": {}}]},
          {"role": "system", "content": "t"},
          {"role": "assistant", "content": [{"type": "text", "text": "b"}]},
          {"role": "user", "content": [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]},
          {"role": "user", "content": []}])");
  ASSERT_EQ(messages.size(), 6U);
  EXPECT_EQ(messages[1].role, Role::System);
  EXPECT_EQ(text_of(messages[1]), "s");
  EXPECT_EQ(messages[3].role, Role::Assistant);
  EXPECT_EQ(text_of(messages[4]), "c\n\nd");
  EXPECT_EQ(messages[5].role, Role::User);
}

TEST(MessageBlocks, CallsAndResultsAreReadInTheirOrder) {
  const std::vector<Message> messages = read(
      R"([{"role": "assistant", "content": [
            {"type": "thinking", "thinking": "think", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "I call."},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"b": 1.0, "a": [true]}},
            {"type": "tool_use", "id": "t2", "name": "g"}]},
          {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t2", "content": "two"},
            {"type": "tool_result", "tool_use_id": "t1", "is_error": true,
             "content": [{"type": "text", "text": "one"}]},
            {"type": "text", "text": "go on"},
            {"type": "tool_result", "tool_use_id": "t1"}]}])");
  ASSERT_EQ(messages.size(), 5U);
  EXPECT_EQ(messages[0].reasoning, "think");
  EXPECT_EQ(text_of(messages[0]), "I call.");
  ASSERT_EQ(messages[0].tool_calls.size(), 2U);
  EXPECT_EQ(messages[0].tool_calls[0].arguments, R"({"b": 1.0, "a": [true]})");
  EXPECT_EQ(messages[0].tool_calls[1].arguments, "{}");
  EXPECT_EQ(messages[1].role, Role::Tool);
  EXPECT_EQ(messages[1].tool_call_id, "t2");
  EXPECT_EQ(text_of(messages[2]), "Error: one");
  EXPECT_EQ(messages[3].role, Role::User);
  EXPECT_EQ(text_of(messages[3]), "go on");
  EXPECT_EQ(text_of(messages[4]), "");
}

TEST(MessageBlocks, ASignatureRestoresWhatWasThoughtAndAForgedOneRestoresNothing) {
  const wire::Service service = make_service();
  const auto reasoning = [&](const std::string& thinking, const std::string& signature) {
    return read(R"([{"role": "assistant", "content": [{"type": "thinking", "thinking": ")" +
                    thinking + R"(", "signature": ")" + signature + R"("}]}])",
                service)[0]
        .reasoning;
  };
  EXPECT_EQ(reasoning("", service.seal().seal("ann", "\nexact\n")), "\nexact\n");
  EXPECT_EQ(reasoning("", service.seal().seal("bob", "secret")), "");
  std::string forged = service.seal().seal("ann", "exact");
  forged[30] = forged[30] == 'A' ? 'B' : 'A';
  EXPECT_EQ(reasoning("shown", forged), "shown");
}

TEST(MessageBlocks, TheBillingHeaderIsLeftOut) {
  EXPECT_EQ(system_text(R"([{"type": "text", "text":
              "x-anthropic-billing-header: cc_version=2.1; cch=12345;"},
              {"type": "text", "text": "You are"}, {"type": "text", "text": "an agent."}])"),
            "You are\n\nan agent.");
  EXPECT_EQ(system_text(R"("x-anthropic-billing-header: cch=1;\nYou are.")"), "You are.");
  EXPECT_EQ(system_text(R"("See x-anthropic-billing-header: no")"),
            "See x-anthropic-billing-header: no");
  EXPECT_EQ(system_text("null"), "");
}

TEST(MessageBlocks, DocumentsOfTextAreReadAndImagesAreNot) {
  EXPECT_EQ(user_text(R"({"type": "document", "title": "T",
                         "source": {"type": "text", "media_type": "text/plain", "data": "d"}})"),
            "T\n\nd");
  EXPECT_EQ(user_text(R"({"type": "document", "source": {"type": "content",
                         "content": [{"type": "text", "text": "n"}]}})"),
            "n");
  EXPECT_EQ(user_text(R"({"type": "search_result", "title": "T", "source": "s",
                         "content": [{"type": "text", "text": "x"}]})"),
            "T\ns\n\nx");
  EXPECT_EQ(user_text(R"({"type": "tool_reference", "tool_name": "f"})"), "Tool: f");
  const std::string image = R"({"type": "image", "source": {"type": "base64", "data": "AA"}})";
  const std::string pdf = R"({"type": "document", "source": {"type": "base64", "data": "AA"}})";
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported, "messages[0].content[0]: expected text; this",
                         [&] { user_text(image); }));
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported, "messages[0].content[0]: expected text; this",
                         [&] { user_text(pdf); }));
  EXPECT_EQ(user_text(image, true), "[Unsupported image]");
  EXPECT_EQ(user_text(pdf, true), "[Unsupported document]");
}

TEST(MessageBlocks, WhatIsWrongIsNamed) {
  const auto fails = [](ErrorCode code, const std::string& message, const std::string& json) {
    return fails_with(code, message, [&] { read(json); });
  };
  constexpr ErrorCode kInvalid = ErrorCode::InvalidArgument;
  EXPECT_TRUE(fails(kInvalid, "messages: expected a list", R"("x")"));
  EXPECT_TRUE(fails(kInvalid, "messages[0]: expected an object", "[1]"));
  EXPECT_TRUE(
      fails(kInvalid, "messages[0].role: expected", R"([{"role": "tool", "content": ""}])"));
  EXPECT_TRUE(fails(kInvalid, "messages[0].content: expected a string", R"([{"role": "user"}])"));
  EXPECT_TRUE(fails(kInvalid, "messages[0].content[0].type: expected a string",
                    R"([{"role": "user", "content": [{"text": "x"}]}])"));
  EXPECT_TRUE(fails(kInvalid, "messages[0].content[0].text: expected a string",
                    R"([{"role": "user", "content": [{"type": "text"}]}])"));
  EXPECT_TRUE(
      fails(kInvalid, "messages[0].content[0].tool_use_id: expected the id of an earlier",
            R"([{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}])"));
  EXPECT_TRUE(fails(kInvalid, "messages[0].content[0].input: expected an object",
                    R"([{"role": "assistant", "content": [
                        {"type": "tool_use", "id": "t", "name": "f", "input": "{}"}]}])"));
  EXPECT_TRUE(
      fails(ErrorCode::Unsupported, "messages[1].content[0].content[0]: expected text",
            R"([{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f"}]},
                        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t",
                         "content": [{"type": "image", "source": {}}]}]}])"));
}

}  // namespace
}  // namespace fathom::anthropic
