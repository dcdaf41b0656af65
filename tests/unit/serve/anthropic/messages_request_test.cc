#include "fathom/serve/anthropic/messages_request.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::anthropic {
namespace {

using engine::ToolChoice;
using fathom::testing::fails_with;

constexpr std::string_view kHi = R"("messages": [{"role": "user", "content": "Hi"}])";

MessagesRequest read(const std::string& members,
                     Purpose purpose = Purpose::Count,
                     wire::ServiceOptions options = {}) {
  wire::Service service({{.name = "m"}}, options);
  return read_messages_request(
      {.key_name = "ann"}, text::parse_json(std::string("{").append(members).append("}"), "body"),
      service, purpose);
}

MessagesRequest read_hi(const std::string& members, wire::ServiceOptions options = {}) {
  return read(std::string(kHi).append(", ").append(members), Purpose::Count, options);
}

const engine::ChatPrompt& prompt_of(const MessagesRequest& request) {
  return std::get<engine::ChatPrompt>(request.generate.prompt);
}

TEST(MessagesRequest, ReadsWhatTheEngineNeeds) {
  const MessagesRequest request = read_hi(
      R"("model": "m", "max_tokens": 16, "system": [{"type": "text", "text": "s"}],
         "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop_sequences": ["X"], "stream": true,
         "metadata": {"user_id": "{\"session_id\":\"1\"}"}, "thinking": {"type": "adaptive",
         "display": "omitted"}, "output_config": {"effort": "max"},
         "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
         "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"},
                    "defer_loading": true, "cache_control": {"type": "ephemeral"}},
                   {"type": "web_search_20250305", "name": "web_search"},
                   {"type": "custom", "name": "g", "input_schema": {}, "strict": true}],
         "tool_choice": {"type": "any", "disable_parallel_tool_use": true})");
  EXPECT_EQ(request.model, "m");
  EXPECT_TRUE(request.is_stream);
  EXPECT_FALSE(request.shows_thinking);
  EXPECT_EQ(request.generate.max_tokens, 16);
  EXPECT_EQ(request.generate.sampling.top_k, 5);
  EXPECT_EQ(request.generate.stop_strings, std::vector<std::string>{"X"});
  EXPECT_EQ(request.generate.tool_choice, ToolChoice::Required);
  EXPECT_FALSE(request.generate.allows_parallel_calls);
  const engine::ChatPrompt& prompt = prompt_of(request);
  ASSERT_EQ(prompt.conversation.messages.size(), 2U);
  EXPECT_EQ(text_of(prompt.conversation.messages[0]), "s");
  EXPECT_TRUE(prompt.render.thinking);
  EXPECT_EQ(prompt.render.effort, "max");
  ASSERT_EQ(prompt.conversation.tools.size(), 2U);
  EXPECT_EQ(prompt.conversation.tools[0].function_json,
            R"({"name": "f", "description": "d", "parameters": {"type": "object"}})");
  EXPECT_FALSE(prompt.conversation.tools[0].is_strict);
  EXPECT_TRUE(prompt.conversation.tools[1].is_strict);
  EXPECT_EQ(prompt.conversation.tools[1].schema_field, "tools[2].input_schema");
  EXPECT_EQ(prompt.conversation.system_messages, text::SystemMessages::Folded);
}

TEST(MessagesRequest, ThinkingIsOffUnlessItIsAskedFor) {
  const auto thinks = [](const std::string& type) {
    return prompt_of(read_hi(R"("thinking": {"type": ")" + type + "\"}")).render.thinking;
  };
  EXPECT_FALSE(prompt_of(read(std::string(kHi))).render.thinking);
  EXPECT_FALSE(thinks("disabled"));
  EXPECT_TRUE(thinks("enabled"));
  EXPECT_TRUE(thinks("adaptive"));
  EXPECT_TRUE(thinks("between_tools"));
}

TEST(MessagesRequest, ASchemaConstrainsTheContent) {
  const MessagesRequest request = read_hi(
      R"("output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}})");
  EXPECT_EQ(request.generate.content.kind, engine::ContentRule::Kind::JsonSchema);
  EXPECT_EQ(prompt_of(request).conversation.response_format, R"({"type": "object"})");
}

TEST(MessagesRequest, SessionsOfOneKeyShareWhatIsCached) {
  const MessagesRequest one = read_hi(R"("metadata": {"user_id": "1"})");
  const MessagesRequest two = read_hi(R"("metadata": {"user_id": "2"})");
  EXPECT_EQ(one.generate.cache_scope, two.generate.cache_scope);
  EXPECT_FALSE(one.generate.cache_scope.empty());
}

TEST(MessagesRequest, AnAnswerThatTheClientBeganGoesOn) {
  const MessagesRequest request = read(
      R"("messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}])");
  EXPECT_EQ(prompt_of(request).conversation.messages.back().ending, text::Ending::Prefix);
}

TEST(MessagesRequest, WhatIsWrongOrNotSupportedIsNamed) {
  const auto fails = [](ErrorCode code, const std::string& message, const std::string& members) {
    return fails_with(code, message, [&] { read(members); });
  };
  const auto fails_hi = [&](ErrorCode code, const std::string& message,
                            const std::string& members) {
    return fails(code, message, std::string(kHi).append(", ").append(members));
  };
  constexpr ErrorCode kInvalid = ErrorCode::InvalidArgument;
  constexpr ErrorCode kUnsupported = ErrorCode::Unsupported;
  EXPECT_TRUE(fails(kInvalid, "messages: expected a list", R"("max_tokens": 1)"));
  EXPECT_TRUE(fails(kInvalid, "messages: expected at least one", R"("messages": [])"));
  EXPECT_TRUE(fails(kInvalid, "messages: expected at least one message of a user",
                    R"("messages": [{"role": "system", "content": "x"}])"));
  EXPECT_TRUE(fails(kInvalid, "messages: expected the tool_result of \"t\"",
                    R"("messages": [{"role": "assistant",
                        "content": [{"type": "tool_use", "id": "t", "name": "f"}]}])"));
  EXPECT_TRUE(fails_with(kInvalid, "max_tokens: expected an integer",
                         [] { read(std::string(kHi), Purpose::Message); }));
  EXPECT_TRUE(fails_hi(kInvalid, "max_tokens: expected an integer", R"("max_tokens": 0)"));
  EXPECT_TRUE(fails_hi(kInvalid, "temperature: ", R"("temperature": "hot")"));
  EXPECT_TRUE(fails_hi(kInvalid, "thinking.type: expected", R"("thinking": {"type": "deep"})"));
  EXPECT_TRUE(fails_hi(kInvalid, "thinking.display: expected",
                       R"("thinking": {"type": "enabled", "display": "all"})"));
  EXPECT_TRUE(fails_hi(kInvalid, "output_config.effort: expected one of",
                       R"("output_config": {"effort": "none"})"));
  EXPECT_TRUE(fails_hi(kInvalid, "output_config.format.type: expected",
                       R"("output_config": {"format": {"type": "json"}})"));
  EXPECT_TRUE(
      fails_hi(kInvalid, "tool_choice.type: expected", R"("tool_choice": {"type": "all"})"));
  EXPECT_TRUE(fails_hi(kInvalid, "tools[0].input_schema: expected an object",
                       R"("tools": [{"name": "f"}])"));
  EXPECT_TRUE(fails_hi(kInvalid, "tools[1].name: expected a name that no other",
                       R"("tools": [{"name": "f", "input_schema": {}},
                                    {"name": "f", "input_schema": {}}])"));
  EXPECT_TRUE(fails_hi(kInvalid, "tools[0].type: expected", R"("tools": [{"type": "function"}])"));
  EXPECT_TRUE(fails_hi(kUnsupported, "tools[0].type: bash_20250124 is not supported",
                       R"("tools": [{"type": "bash_20250124", "name": "bash"}])"));
  EXPECT_TRUE(fails_hi(kUnsupported, "mcp_servers: not supported", R"("mcp_servers": [{}])"));
  EXPECT_TRUE(fails_hi(kUnsupported, "container: not supported", R"("container": "c")"));
  EXPECT_TRUE(fails_hi(kInvalid, "thread.type: expected", R"("thread": {"type": "fork"})"));
  EXPECT_TRUE(fails_hi(ErrorCode::NotFound, "thread.previous_message_id: no such message",
                       R"("thread": {"type": "continue", "previous_message_id": "msg_1"})"));
  EXPECT_TRUE(fails_with(kInvalid, "thread: this server keeps no conversations",
                         [] { read_hi(R"("thread": {"type": "create"})", {.num_stored = 0}); }));
}

TEST(MessagesRequest, ToolsOfTheVendorsClientsAreSkippedWhereThatIsAsked) {
  EXPECT_TRUE(prompt_of(read_hi(R"("tools": [{"type": "bash_20250124", "name": "bash"}])",
                                {.replaces_unsupported = true}))
                  .conversation.tools.empty());
}

}  // namespace
}  // namespace fathom::anthropic
