#include "fathom/serve/openai/chat_request.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::openai {
namespace {

using engine::ContentRule;
using engine::ToolChoice;
using fathom::testing::fails_with;

constexpr std::string_view kMessages = R"("messages":[{"role":"user","content":"Hi"}])";

ChatRequest read(const std::string& json, const wire::ServiceOptions& options = {}) {
  return read_chat(text::parse_json(json, "test"), http::Request{.key_name = "key"}, options);
}

// With a message in front.
ChatRequest read_with(std::string_view members, const wire::ServiceOptions& options = {}) {
  return read("{" + std::string(kMessages) + "," + std::string(members) + "}", options);
}

const engine::ChatPrompt& prompt_of(const ChatRequest& request) {
  return std::get<engine::ChatPrompt>(request.generate.prompt);
}

TEST(ReadChat, AMessageIsEnough) {
  const ChatRequest request = read("{" + std::string(kMessages) + "}");
  EXPECT_EQ(request.model, "");
  EXPECT_FALSE(request.is_streamed);
  EXPECT_FALSE(request.has_logprobs);
  EXPECT_EQ(request.generate.num_choices, 1);
  EXPECT_FALSE(request.generate.max_tokens);
  EXPECT_EQ(request.generate.content.kind, ContentRule::Kind::Free);
  EXPECT_EQ(request.generate.tool_choice, ToolChoice::Auto);
  EXPECT_TRUE(request.generate.allows_parallel_calls);
  EXPECT_TRUE(prompt_of(request).render.thinking);
  EXPECT_EQ(prompt_of(request).conversation.messages.size(), 1U);
}

TEST(ReadChat, EveryFieldArrives) {
  const ChatRequest request = read_with(
      R"("model":"m","max_tokens":5,"max_completion_tokens":6,"n":3,"stop":"x","stream":true,
         "stream_options":{"include_usage":true},"logprobs":true,"top_logprobs":4,"temperature":0,
         "response_format":{"type":"json_object"},"parallel_tool_calls":false,
         "return_progress":true,"tool_choice":"none","thinking":{"type":"disabled"},
         "reasoning_effort":"max","unknown":[1],"metadata":{"k":"v"},"store":true,
         "service_tier":"auto")");
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(request.generate.max_tokens, 6);
  EXPECT_EQ(request.generate.num_choices, 3);
  EXPECT_EQ(request.generate.stop_strings, std::vector<std::string>{"x"});
  EXPECT_TRUE(request.is_streamed && request.includes_usage && request.has_logprobs);
  EXPECT_EQ(request.generate.sampling.num_top_logprobs, 4);
  EXPECT_EQ(request.generate.sampling.temperature, 0);
  EXPECT_EQ(request.generate.content.kind, ContentRule::Kind::JsonObject);
  EXPECT_EQ(request.constraint_field, "response_format");
  EXPECT_FALSE(request.generate.allows_parallel_calls);
  EXPECT_TRUE(request.generate.wants_progress);
  EXPECT_EQ(request.generate.tool_choice, ToolChoice::None);
  EXPECT_FALSE(prompt_of(request).render.thinking);
  EXPECT_EQ(prompt_of(request).render.effort, "max");
}

TEST(ReadChat, LogprobsAreComputedWhereTheyAreWanted) {
  EXPECT_FALSE(read_with(R"("n":1)").generate.sampling.num_top_logprobs);
  EXPECT_EQ(read_with(R"("logprobs":true)").generate.sampling.num_top_logprobs, 0);
}

TEST(ReadChat, ASchemaIsARuleAndPartOfThePrompt) {
  const ChatRequest request = read_with(
      R"("response_format":{"type":"json_schema","json_schema":{"name":"W","strict":true,
         "schema":{"type":"object"}}})");
  EXPECT_EQ(request.generate.content.kind, ContentRule::Kind::JsonSchema);
  EXPECT_EQ(request.generate.content.text, R"({"type": "object"})");
  EXPECT_EQ(prompt_of(request).conversation.response_format, R"({"type": "object"})");
}

TEST(ReadChat, AToolMayBeNamed) {
  const ChatRequest request = read_with(
      R"("tools":[{"type":"function","function":{"name":"f"}}],
         "tool_choice":{"type":"function","function":{"name":"f"}})");
  EXPECT_EQ(request.generate.tool_choice, ToolChoice::Named);
  EXPECT_EQ(request.generate.named_tool, "f");
  EXPECT_EQ(read_with(R"("tool_choice":"required")").generate.tool_choice, ToolChoice::Required);
}

TEST(ReadChat, PrefixesAreSharedWithinOneKeyAndUser) {
  const std::string scope = read_with(R"("user":"a")").generate.cache_scope;
  EXPECT_EQ(scope, read_with(R"("user_id":"a","user":"b")").generate.cache_scope);
  EXPECT_NE(scope, read_with(R"("user":"b")").generate.cache_scope);
}

TEST(ReadChat, ImagesAreRefusedByTheirPartOrReplaced) {
  const std::string members =
      R"({"messages":[{"role":"user","content":"a"},{"role":"tool","tool_call_id":"c","content":[
          {"type":"text","text":"b"},{"type":"image_url","image_url":{"url":"data:,"}}]}]})";
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported,
                         "messages[1].content[1]: this model reads text only, found image_url",
                         [&] { read(members); }));
  const ChatRequest replaced = read(members, {.replaces_unsupported = true});
  EXPECT_EQ(text_of(prompt_of(replaced).conversation.messages[1]), "b\n\n[Unsupported image_url]");
}

TEST(ReadChat, WhatCannotBeDoneIsRefusedByName) {
  const std::vector<std::string_view> fields = {
      R"("functions":[{"name":"f"}])",
      R"("function_call":"auto")",
      R"("audio":{"voice":"x","format":"wav"})",
      R"("web_search_options":{})",
      R"("chat_template":"{{x}}")",
      R"("documents":[{"text":"x"}])",
      R"("prompt_logprobs":1)",
      R"("echo":true)",
      R"("return_token_ids":true)",
      R"("add_generation_prompt":false)",
  };
  for (const std::string_view field : fields) {
    const std::string name(field.substr(1, field.find('"', 1) - 1));
    EXPECT_TRUE(fails_with(ErrorCode::Unsupported, name + ": ", [&] { read_with(field); }))
        << field;
  }
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported, "modalities[1]: expected",
                         [] { read_with(R"("modalities":["text","audio"])"); }));
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported, "messages[0].function_call: ", [] {
    read(R"({"messages":[{"role":"assistant","function_call":{"name":"f"}}]})");
  }));
  EXPECT_NO_THROW(read_with(R"("functions":[],"function_call":null,"audio":null,"echo":false,
      "modalities":["text"],"add_generation_prompt":false,"continue_final_message":true)"));
}

TEST(ReadChat, WhatIsWrongIsNamed) {
  const std::vector<std::pair<std::string_view, std::string_view>> cases = {
      {R"("model":7)", "model: expected a string, found 7"},
      {R"("max_tokens":0)", "max_tokens: expected an integer from 1"},
      {R"("max_completion_tokens":"5")", "max_completion_tokens: expected an integer"},
      {R"("n":0)", "n: expected an integer from 1 to 128, found 0"},
      {R"("n":129)", "n: expected an integer from 1 to 128, found 129"},
      {R"("stream":"yes")", "stream: expected true or false, found \"yes\""},
      {R"("stream_options":true)", "stream_options: expected an object, found true"},
      {R"("stream_options":{"include_usage":1})", "stream_options.include_usage: expected true"},
      {R"("logprobs":1)", "logprobs: expected true or false, found 1"},
      {R"("top_logprobs":21,"logprobs":true)", "top_logprobs: expected an integer from 0 to 20"},
      {R"("top_logprobs":2)", "top_logprobs: expected logprobs to be true beside it"},
      {R"("tool_choice":"any")", "tool_choice: expected \"auto\", \"none\", \"required\" or"},
      {R"("tool_choice":7)", "tool_choice: expected"},
      {R"("tool_choice":{"type":"allowed_tools"})", "tool_choice.type: expected \"function\""},
      {R"("tool_choice":{"type":"function"})", "tool_choice.function.name: expected a string"},
      {R"("tools":{})", "tools: expected a list, found an object"},
      {R"("tools":[{"type":"custom","custom":{}}])", "tools[0].function: expected an object"},
      {R"("response_format":{"type":"xml"})", "response_format.type: expected one of"},
      {R"("response_format":"json")", "response_format: expected an object, found \"json\""},
      {R"("response_format":{"type":"json_schema"})",
       "response_format.json_schema.schema: expected an object, found nothing"},
      {R"("response_format":{"type":"json_object"},"guided_regex":"a")",
       "guided_regex: expected at most one constraint"},
      {R"("reasoning_effort":"huge")", "reasoning_effort: expected one of \"none\", \"minimal\""},
      {R"("reasoning_effort":3)", "reasoning_effort: expected a string"},
      {R"("thinking":{"type":"maybe"})", "thinking.type: expected \"enabled\" or \"disabled\""},
      {R"("thinking":true)", "thinking: expected an object"},
      {R"("chat_template_kwargs":{"thinking":1})", "chat_template_kwargs.thinking: expected true"},
      {R"("parallel_tool_calls":"no")", "parallel_tool_calls: expected true or false"},
      {R"("user":1)", "user: expected a string, found 1"},
      {R"("temperature":3)", "temperature: expected a number from 0 to 2, found 3"},
      {R"("modalities":"text")", "modalities: expected a list"},
  };
  for (const auto& [members, message] : cases) {
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, std::string(message), [members = members] {
      read_with(members);
    })) << members;
  }
  const std::vector<std::pair<std::string, std::string>> messages = {
      {R"({})", "messages: expected a list of messages, found nothing"},
      {R"({"messages":[]})", "messages: expected at least one message"},
      {R"({"messages":[{"role":"wizard","content":""}]})", "messages[0].role: expected one of"},
      {R"({"messages":[{"role":"user","content":7}]})", "messages[0].content: expected a string"},
      {R"({"messages":[{"role":"user","content":[{"type":"text","text":7}]}]})",
       "messages[0].content[0].text: expected a string, found 7"},
  };
  for (const auto& [json, message] : messages) {
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, message, [json = json] { read(json); }))
        << json;
  }
}

}  // namespace
}  // namespace fathom::openai
