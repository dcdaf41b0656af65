#include "fathom/serve/openai/responses_request.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::openai {
namespace {

using engine::ToolChoice;
using fathom::testing::fails_with;

constexpr std::string_view kTool = R"([{"type": "function", "name": "f"}])";

ResponsesRequest read(const std::string& members, wire::ServiceOptions options = {}) {
  wire::Service service({{.name = "m"}}, options);
  return read_responses_request({.key_name = "ann"}, text::parse_json("{" + members + "}", "body"),
                                service);
}

const engine::ChatPrompt& prompt_of(const ResponsesRequest& request) {
  return std::get<engine::ChatPrompt>(request.generate.prompt);
}

TEST(ResponsesRequest, ReadsWhatTheEngineNeeds) {
  const ResponsesRequest request = read(
      R"("model": "m", "input": "Hi", "instructions": "Be brief.", "max_output_tokens": 16,
         "temperature": 0.5, "top_p": 0.9, "seed": 7, "parallel_tool_calls": false, "stream": true,
         "store": false, "include": ["reasoning.encrypted_content"], "metadata": {"k": "v"},
         "reasoning": {"effort": "xhigh", "summary": "auto"}, "tool_choice": "required",
         "client_metadata": {"a": "b"}, "prompt_cache_key": "k", "unknown": [], "tools": )" +
      std::string(kTool));
  EXPECT_EQ(request.model, "m");
  EXPECT_TRUE(request.is_stream);
  EXPECT_FALSE(request.is_stored);
  EXPECT_TRUE(request.wants_sealed_reasoning);
  EXPECT_TRUE(request.wants_summary);
  EXPECT_EQ(request.owner, "ann");
  EXPECT_EQ(request.generate.max_tokens, 16);
  EXPECT_EQ(request.generate.sampling.temperature, 0.5);
  EXPECT_EQ(request.generate.sampling.seed, 7U);
  EXPECT_FALSE(request.generate.allows_parallel_calls);
  EXPECT_EQ(request.generate.tool_choice, ToolChoice::Required);
  const engine::ChatPrompt& prompt = prompt_of(request);
  EXPECT_EQ(prompt.conversation.system_messages, text::SystemMessages::Folded);
  ASSERT_EQ(prompt.conversation.messages.size(), 2U);
  EXPECT_EQ(text_of(prompt.conversation.messages[0]), "Be brief.");
  EXPECT_EQ(request.history.messages.size(), 1U) << "instructions are of this request alone";
  EXPECT_EQ(prompt.conversation.tools.size(), 1U);
  EXPECT_TRUE(prompt.render.thinking);
  EXPECT_EQ(prompt.render.effort, "xhigh");
}

TEST(ResponsesRequest, EffortNoneIsWithoutReasoning) {
  EXPECT_FALSE(prompt_of(read(R"("input": "x", "reasoning": {"effort": "none"})")).render.thinking);
  EXPECT_TRUE(prompt_of(read(R"("input": "x", "reasoning": {"effort": null})")).render.thinking);
  EXPECT_TRUE(prompt_of(read(R"("input": "x")")).render.thinking);
}

TEST(ResponsesRequest, AFormatConstrainsTheContent) {
  const ResponsesRequest request = read(
      R"("input": "x", "text": {"format": {"type": "json_schema", "name": "n", "strict": true,
         "schema": {"type": "object"}}})");
  EXPECT_EQ(request.generate.content.kind, engine::ContentRule::Kind::JsonSchema);
  EXPECT_EQ(request.generate.content.text, R"({"type": "object"})");
  EXPECT_EQ(prompt_of(request).conversation.response_format, R"({"type": "object"})");
  EXPECT_EQ(
      read(R"("input": "x", "text": {"format": {"type": "json_object"}})").generate.content.kind,
      engine::ContentRule::Kind::JsonObject);
}

TEST(ResponsesRequest, AToolMayBeChosen) {
  const auto with_choice = [](const std::string& choice) {
    return read(R"("input": "x", "tools": )" + std::string(kTool) + R"(, "tool_choice": )" +
                choice);
  };
  EXPECT_EQ(with_choice(R"({"type": "function", "name": "f"})").generate.named_tool, "f");
  EXPECT_EQ(with_choice("\"none\"").generate.tool_choice, ToolChoice::None);
  const ResponsesRequest allowed = with_choice(
      R"({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]})");
  EXPECT_EQ(allowed.generate.tool_choice, ToolChoice::Required);
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "tool_choice.name: expected",
                         [&] { with_choice(R"({"type": "function", "name": "g"})"); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "tool_choice: expected",
                         [&] { with_choice("\"any\""); }));
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported, "tool_choice.type: not supported",
                         [&] { with_choice(R"({"type": "web_search"})"); }));
}

TEST(ResponsesRequest, AnAnswerThatTheClientBeganGoesOn) {
  const ResponsesRequest request =
      read(R"("input": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}])");
  EXPECT_EQ(prompt_of(request).conversation.messages.back().ending, text::Ending::Prefix);
}

TEST(ResponsesRequest, ADeveloperAloneIsWhoAsks) {
  const ResponsesRequest request = read(R"("input": [{"role": "developer", "content": "x"}])");
  EXPECT_EQ(prompt_of(request).conversation.messages.back().role, text::Role::User);
}

TEST(ResponsesRequest, WhatIsWrongOrNotSupportedIsNamed) {
  const auto fails = [](ErrorCode code, const std::string& message, const std::string& members) {
    return fails_with(code, message, [&] { read(members); });
  };
  constexpr ErrorCode kInvalid = ErrorCode::InvalidArgument;
  constexpr ErrorCode kUnsupported = ErrorCode::Unsupported;
  EXPECT_TRUE(fails(kInvalid, "input: expected a text or at least one item", ""));
  EXPECT_TRUE(fails(kInvalid, "input: expected a text or at least one item", R"("input": [])"));
  EXPECT_TRUE(fails(kInvalid, "model: expected a string", R"("input": "x", "model": 1)"));
  EXPECT_TRUE(fails(kInvalid, "stream: expected true", R"("input": "x", "stream": "yes")"));
  EXPECT_TRUE(
      fails(kInvalid, "instructions: expected a string", R"("input": "x", "instructions": [])"));
  EXPECT_TRUE(fails(kInvalid, "max_output_tokens: expected an integer from 1",
                    R"("input": "x", "max_output_tokens": 0)"));
  EXPECT_TRUE(fails(kInvalid, "temperature: ", R"("input": "x", "temperature": -1)"));
  EXPECT_TRUE(fails(kInvalid, "reasoning.effort: expected one of",
                    R"("input": "x", "reasoning": {"effort": "much"})"));
  EXPECT_TRUE(fails(kInvalid, "reasoning.summary: expected",
                    R"("input": "x", "reasoning": {"summary": "long"})"));
  EXPECT_TRUE(
      fails(kInvalid, "include[0]: expected", R"("input": "x", "include": ["everything"])"));
  EXPECT_TRUE(fails(kInvalid, "text.format.type: expected",
                    R"("input": "x", "text": {"format": {"type": "xml"}})"));
  EXPECT_TRUE(fails(kInvalid, "text.format.schema: expected an object",
                    R"("input": "x", "text": {"format": {"type": "json_schema"}})"));
  EXPECT_TRUE(fails(kInvalid, "input: expected the output of call \"c\"",
                    R"("input": [{"type": "function_call", "call_id": "c", "name": "f"}])"));
  EXPECT_TRUE(
      fails(kUnsupported, "background: not supported", R"("input": "x", "background": true)"));
  EXPECT_TRUE(fails(kUnsupported, "conversation: not supported",
                    R"("input": "x", "conversation": "conv_1")"));
  EXPECT_TRUE(
      fails(kUnsupported, "prompt: not supported", R"("input": "x", "prompt": {"id": "p"})"));
  EXPECT_TRUE(
      fails(kUnsupported, "truncation: not supported", R"("input": "x", "truncation": "auto")"));
  EXPECT_TRUE(fails(kInvalid, "top_logprobs: expected", R"("input": "x", "top_logprobs": 21)"));
  EXPECT_TRUE(fails(kUnsupported, "context_management: not supported",
                    R"("input": "x", "context_management": [{"type": "compaction"}])"));
}

TEST(ResponsesRequest, LogprobsAreWantedByEitherField) {
  EXPECT_FALSE(read(R"("input": "x")").has_logprobs);
  EXPECT_FALSE(read(R"("input": "x")").generate.sampling.num_top_logprobs);
  EXPECT_TRUE(read(R"("input": "x", "include": ["message.output_text.logprobs"])").has_logprobs);
  const ResponsesRequest request = read(R"("input": "x", "top_logprobs": 3)");
  EXPECT_TRUE(request.has_logprobs);
  EXPECT_EQ(request.generate.sampling.num_top_logprobs, 3);
}

TEST(ResponsesRequest, AnUnknownPreviousResponseAsksForTheFullInput) {
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "replay the full input",
                         [] { read(R"("input": "x", "previous_response_id": "resp_1")"); }));
  EXPECT_TRUE(fails_with(
      ErrorCode::InvalidArgument, "previous_response_id: this server stores no",
      [] { read(R"("input": "x", "previous_response_id": "resp_1")", {.num_stored = 0}); }));
}

}  // namespace
}  // namespace fathom::openai
