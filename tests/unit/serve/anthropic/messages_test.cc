#include "fathom/serve/anthropic/messages.h"

#include <gtest/gtest.h>

#include "tests/support/client_recordings.h"
#include "tests/support/wire_session.h"

namespace fathom::anthropic {
namespace {

using fathom::testing::Json;
using fathom::testing::read_recordings;
using fathom::testing::RecordedRequest;
using fathom::testing::v4_call;
using fathom::testing::WireAnswer;
using fathom::testing::WireEvent;
using fathom::testing::WireOptions;
using fathom::testing::WireSession;

const Json kTools = Json::parse(R"([
  {"name": "weather", "input_schema": {"type": "object",
   "properties": {"city": {"type": "string"}}}}])");

const std::string kCall = "\nHm\n</think>I look." + v4_call("weather", {{"city", "Rome"}});
// How the model's turn has to stand in the next prompt: byte for byte as it was sampled.
const std::string kTurn = "<｜Assistant｜><think>" + kCall + "<｜end▁of▁sentence｜>";

WireSession session_with(std::vector<std::string> replies, WireOptions options = {}) {
  return WireSession(&add_routes, std::move(replies), std::move(options));
}

Json request(const Json& messages, const Json& more = Json::object()) {
  Json body = {{"model", "m"},
               {"max_tokens", 1000},
               {"tools", kTools},
               {"thinking", {{"type", "adaptive"}}},
               {"messages", messages}};
  body.update(more);
  return body;
}

Json user(const Json& content) {
  return {{"role", "user"}, {"content", content}};
}

Json result_of(const Json& message, const std::string& content) {
  return Json::array({{{"type", "tool_result"},
                       {"tool_use_id", message["content"].back()["id"]},
                       {"content", content}}});
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Messages, AToolRoundTripRepeatsTheTurnExactlyWhateverWasShown) {
  for (const char* const display : {"summarized", "omitted"}) {
    WireSession session = session_with({kCall, "</think>Sunny."});
    const Json more = {{"thinking", {{"type", "adaptive"}, {"display", display}}}};
    const WireAnswer first =
        session.post("/v1/messages", request(Json::array({user("Weather?")}), more));
    ASSERT_EQ(first.status, 200) << first.bytes;
    const WireAnswer second = session.post(
        "/anthropic/v1/messages",
        request(Json::array({user("Weather?"),
                             {{"role", "assistant"}, {"content", first.body["content"]}},
                             user(result_of(first.body, "20"))}),
                more));
    ASSERT_EQ(second.status, 200) << second.bytes;
    EXPECT_TRUE(contains(session.last_prompt(), kTurn)) << session.last_prompt();
    EXPECT_TRUE(contains(session.last_prompt(), "<tool_result>20</tool_result>"));
    EXPECT_EQ(second.body["content"].back()["text"], "Sunny.");
  }
}

TEST(Messages, StrippedThinkingIsRestoredByTheIdOfTheCall) {
  WireSession session = session_with({kCall, "</think>Sunny."});
  const WireAnswer first = session.post("/v1/messages", request(Json::array({user("Weather?")})));
  Json content = first.body["content"];
  content.erase(0);
  const WireAnswer second = session.post(
      "/v1/messages", request(Json::array({user("Weather?"),
                                           {{"role", "assistant"}, {"content", content}},
                                           user(result_of(first.body, "20"))})));
  ASSERT_EQ(second.status, 200) << second.bytes;
  EXPECT_TRUE(contains(session.last_prompt(), kTurn)) << session.last_prompt();
}

TEST(Messages, AThreadNeedsOnlyTheResult) {
  WireSession session = session_with({kCall, "</think>Sunny.", "</think>Bye."});
  const WireAnswer first = session.post(
      "/v1/messages", request(Json::array({user("Weather?")}),
                              {{"thread", {{"type", "create"}}}, {"system", "Be brief."}}));
  ASSERT_EQ(first.status, 200) << first.bytes;
  const auto go_on = [&](const WireAnswer& previous, const Json& content) {
    return session.post(
        "/v1/messages",
        {{"model", "m"},
         {"max_tokens", 100},
         {"messages", Json::array({user(content)})},
         {"thread", {{"type", "continue"}, {"previous_message_id", previous.body["id"]}}}});
  };
  const WireAnswer second = go_on(first, result_of(first.body, "20"));
  ASSERT_EQ(second.status, 200) << second.bytes;
  EXPECT_TRUE(contains(session.last_prompt(), "Be brief.\n\n## Tools")) << "system and tools stay";
  EXPECT_TRUE(contains(session.last_prompt(), "<｜User｜>Weather?" + kTurn)) << "as does thinking";
  const WireAnswer third = go_on(second, "Thanks");
  ASSERT_EQ(third.status, 200) << third.bytes;
  EXPECT_TRUE(contains(session.last_prompt(), kTurn));
  EXPECT_TRUE(
      contains(session.last_prompt(), "</think>Sunny.<｜end▁of▁sentence｜><｜User｜>Thanks"));
  EXPECT_EQ(go_on(second, "Again").status, 200) << "a message may be followed twice";
}

TEST(Messages, AThreadThatIsNotKnownIsNotFound) {
  WireSession session = session_with({"Hi"});
  const Json thread = {{"thread", {{"type", "continue"}, {"previous_message_id", "msg_1"}}}};
  const WireAnswer answer =
      session.post("/v1/messages", request(Json::array({user("Hi")}), thread));
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.body["error"]["type"], "not_found_error");
  EXPECT_EQ(answer.body["request_id"], "req_1");
  // A message that was not asked to be a thread is none.
  const WireAnswer plain = session.post("/v1/messages", request(Json::array({user("Hi")})));
  EXPECT_EQ(
      session
          .post("/v1/messages",
                request(Json::array({user("Hi")}),
                        {{"thread",
                          {{"type", "continue"}, {"previous_message_id", plain.body["id"]}}}}))
          .status,
      404);
}

TEST(Messages, CountedTokensAreThoseOfTheUsage) {
  for (const Json& more : {Json::object(),
                           Json({{"tool_choice", {{"type", "tool"}, {"name", "weather"}}},
                                 {"thinking", {{"type", "disabled"}}}}),
                           Json({{"system", "Be brief."}})}) {
    WireOptions options;
    options.engine.num_cached = 7;
    WireSession session = session_with({"</think>Hi"}, options);
    const Json body = request(Json::array({user("Weather?")}), more);
    const WireAnswer counted = session.post("/v1/messages/count_tokens", body);
    EXPECT_TRUE(session.engine().prompts().empty()) << "the engine is left alone";
    const WireAnswer message = session.post("/v1/messages", body);
    const Json& usage = message.body["usage"];
    EXPECT_EQ(usage["cache_read_input_tokens"], 7);
    EXPECT_EQ(counted.body["input_tokens"].get<int>(),
              usage["input_tokens"].get<int>() + usage["cache_read_input_tokens"].get<int>());
  }
}

TEST(Messages, APromptThatIsTooLongIsCountedAndRefused) {
  WireOptions options;
  options.engine.max_context = 20;
  WireSession session = session_with({"Hi"}, options);
  const Json body = request(Json::array({user(std::string(400, 'x') + " y")}));
  EXPECT_GT(session.post("/v1/messages/count_tokens", body).body["input_tokens"], 20);
  const WireAnswer answer = session.post("/v1/messages", body);
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.body["error"]["type"], "invalid_request_error");
}

TEST(Messages, RequestsThatDifferInTheBillingNonceHaveTheSamePrompt) {
  WireSession session = session_with({"</think>Hi"});
  std::vector<std::string> prompts;
  for (const char* const nonce : {"cch=12345;", "cch=67890;"}) {
    const Json system = Json::array(
        {{{"type", "text"}, {"text", std::string("x-anthropic-billing-header: ") + nonce}},
         {{"type", "text"}, {"text", "You are an agent."}}});
    session.post("/v1/messages", request(Json::array({user("Hi")}), {{"system", system}}));
    prompts.push_back(session.last_prompt());
  }
  EXPECT_EQ(prompts[0], prompts[1]);
  EXPECT_TRUE(contains(prompts[0], "You are an agent."));
}

TEST(Messages, WrongBodiesAreRefusedInTheVendorsForm) {
  WireSession session = session_with({"Hi"});
  for (const char* const path : {"/v1/messages", "/v1/messages/count_tokens"}) {
    for (const char* const body : {"", "[]", "{", "{}", "{\"messages\": \"\\ud800\"}", "\xff"}) {
      const WireAnswer answer = session.send({.method = "POST", .path = path, .body = body});
      EXPECT_EQ(answer.status, 400) << path << " " << body;
      EXPECT_EQ(answer.body["type"], "error");
      EXPECT_EQ(answer.body["error"]["type"], "invalid_request_error");
    }
  }
}

TEST(Messages, WhatClaudeCodeAsksFirstIsAnswered) {
  WireSession session = session_with({"Hi"});
  EXPECT_EQ(session.send({.method = "GET", .path = "/api/hello"}).status, 200);
  EXPECT_EQ(session.send({.method = "HEAD", .path = "/api/hello"}).status, 200);
  EXPECT_EQ(session.send({.method = "HEAD", .path = "/"}).status, 200);
}

// What the recordings' README says a client cannot do without.
void expect_what_clients_need(const WireAnswer& answer, const std::string& name) {
  if (!answer.is_stream) {
    EXPECT_TRUE(answer.body["usage"].contains("input_tokens")) << name;
    EXPECT_TRUE(answer.body["content"].is_array()) << name;
    return;
  }
  ASSERT_EQ(answer.events.front().name, "message_start") << name;
  ASSERT_EQ(answer.events.back().name, "message_stop") << name;
  EXPECT_GT(answer.events.front().data["message"]["usage"]["input_tokens"], 0) << name;
  EXPECT_GT(answer.event("message_delta")["usage"]["output_tokens"], 0) << name;
  std::int64_t index = -1;
  bool is_open = false;
  for (const WireEvent& event : answer.events) {
    EXPECT_EQ(event.data["type"], event.name) << name;
    if (event.name == "content_block_start") {
      EXPECT_FALSE(is_open) << name;
      EXPECT_EQ(event.data["index"], ++index) << name;
      const Json& block = event.data["content_block"];
      EXPECT_EQ(block["type"] == "tool_use", block.contains("id")) << name;
      is_open = true;
    } else if (event.name == "content_block_delta") {
      EXPECT_TRUE(is_open && event.data["index"] == index) << name;
      EXPECT_TRUE(event.data["delta"]["type"].is_string()) << name;
    } else if (event.name == "content_block_stop") {
      is_open = false;
    }
  }
  EXPECT_FALSE(is_open) << name;
  EXPECT_GE(index, 0) << name;
}

class RecordedMessages : public ::testing::TestWithParam<const char*> {};

TEST_P(RecordedMessages, AreAnswered) {
  for (RecordedRequest& recorded : read_recordings(GetParam(), "/v1/messages")) {
    const bool has_tools = recorded.body.contains("tools") && !recorded.body["tools"].empty();
    const bool thinks = recorded.body.contains("thinking");
    WireSession session = session_with(
        {(thinks ? "Hm</think>" : "") +
         (has_tools ? v4_call(recorded.body["tools"][0]["name"], {{"command", "ls"}}) : "done")});
    if (recorded.body.contains("thread") && recorded.body["thread"]["type"] == "continue") {
      // The thread as this server would have kept it.
      session.service().store()->put(
          "", {recorded.body["thread"]["previous_message_id"]},
          {.conversation = {
               .messages = {
                   {.role = text::Role::Assistant,
                    .tool_calls = {{.id = recorded.body["messages"][0]["content"][0]["tool_use_id"],
                                    .name = "get_weather",
                                    .arguments = "{}"}}}}}});
    }
    const WireAnswer answer = session.send(recorded.request);
    ASSERT_EQ(answer.status, 200) << recorded.name << ": " << answer.bytes;
    EXPECT_EQ(answer.bytes.find("DSML"), std::string::npos) << recorded.name;
    if (recorded.request.path.find("count_tokens") != std::string::npos) {
      EXPECT_GT(answer.body["input_tokens"], 4) << recorded.name;
      continue;
    }
    EXPECT_EQ(answer.is_stream, recorded.body.value("stream", false)) << recorded.name;
    expect_what_clients_need(answer, recorded.name);
  }
}

INSTANTIATE_TEST_SUITE_P(Clients,
                         RecordedMessages,
                         ::testing::Values("claude_code",
                                           "claude_code_variants",
                                           "anthropic_python",
                                           "anthropic_node",
                                           "anthropic_tool_runner_threads",
                                           "opencode_variants"),
                         [](const auto& param) { return std::string(param.param); });

TEST(Messages, ClaudeCodesTurnsFitEachOther) {
  const std::vector<RecordedRequest> recorded = read_recordings("claude_code", "/v1/messages");
  const std::string call =
      "Hm</think>" + v4_call("Write", {{"file_path", "hello.txt"}, {"content", "hi"}});
  WireSession session = session_with({call, "</think>done"});
  const WireAnswer first = session.send(recorded[0].request);
  ASSERT_EQ(first.status, 200) << first.bytes;
  const std::string first_prompt = session.last_prompt();
  EXPECT_FALSE(contains(first_prompt, "billing"));
  EXPECT_TRUE(contains(first_prompt, "DeferredToolPlaceholder"));
  // The second request of the recording with the content that this server told in the first.
  Json content = Json::array();
  std::string input;
  for (const WireEvent& event : first.events) {
    if (event.name == "content_block_start") {
      content.push_back(event.data["content_block"]);
    } else if (event.name == "content_block_delta") {
      const Json& delta = event.data["delta"];
      if (delta["type"] == "signature_delta") {
        content.back()["signature"] = delta["signature"];
      }
      input += delta.value("partial_json", std::string());
    }
  }
  content.back()["input"] = Json::parse(input);
  Json body = recorded[1].body;
  body["messages"][2]["content"] = content;
  body["messages"][3]["content"][0]["tool_use_id"] = content.back()["id"];
  const WireAnswer second = session.post("/v1/messages", body);
  ASSERT_EQ(second.status, 200) << second.bytes;
  EXPECT_EQ(session.last_prompt().substr(0, first_prompt.size() + call.size()), first_prompt + call)
      << "the second prompt goes on where the first reply ended";
}

}  // namespace
}  // namespace fathom::anthropic
