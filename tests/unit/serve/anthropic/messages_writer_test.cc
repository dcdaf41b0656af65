#include "fathom/serve/anthropic/messages_writer.h"

#include <gtest/gtest.h>

#include "fathom/serve/anthropic/messages.h"

#include "tests/support/wire_session.h"

namespace fathom::anthropic {
namespace {

using fathom::testing::Json;
using fathom::testing::v4_call;
using fathom::testing::WireAnswer;
using fathom::testing::WireEvent;
using fathom::testing::WireSession;
using Names = std::vector<std::string>;

const Json kTools = Json::parse(R"([
  {"name": "weather", "input_schema": {"type": "object",
   "properties": {"city": {"type": "string"}}}}])");

Json request(const Json& more = Json::object()) {
  Json body = {{"model", "claude-x"},
               {"max_tokens", 1000},
               {"stream", true},
               {"tools", kTools},
               {"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  body.update(more);
  return body;
}

const Json kThinking = {{"thinking", {{"type", "enabled"}, {"budget_tokens", 1024}}}};

WireAnswer answer_to(const Json& body,
                     const std::string& reply,
                     testing::WireOptions options = {}) {
  WireSession session(&add_routes, {reply}, std::move(options));
  return session.post("/v1/messages", body);
}

Json delta_of(const WireAnswer& answer) {
  return answer.event("message_delta")["delta"];
}

TEST(MessagesWriter, EveryByteOfAStreamWithThinkingTextAndACall) {
  testing::WireOptions options;
  options.engine.num_cached = 5;
  const WireAnswer answer = answer_to(
      request(kThinking), "Hm</think>So" + v4_call("weather", {{"city", "Rome"}}), options);
  const Json usage = answer.event("message_delta")["usage"];
  const std::int64_t num_prompt = usage["input_tokens"].get<std::int64_t>() + 5;
  const std::string signature =
      answer.events[5].data["delta"].value("signature", std::string("none"));
  const std::vector<std::pair<std::string, std::string>> events = {
      {"message_start",
       R"("message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x",)"
       R"("content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":)" +
           std::to_string(num_prompt) +
           R"(,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}})"},
      {"ping", ""},
      {"content_block_start",
       R"("index":0,"content_block":{"type":"thinking","thinking":"","signature":""})"},
      {"content_block_delta", R"("index":0,"delta":{"type":"thinking_delta","thinking":"H"})"},
      {"content_block_delta", R"("index":0,"delta":{"type":"thinking_delta","thinking":"m"})"},
      {"content_block_delta",
       R"("index":0,"delta":{"type":"signature_delta","signature":")" + signature + "\"}"},
      {"content_block_stop", R"("index":0)"},
      {"content_block_start", R"("index":1,"content_block":{"type":"text","text":""})"},
      {"content_block_delta", R"("index":1,"delta":{"type":"text_delta","text":"So"})"},
      {"content_block_stop", R"("index":1)"},
      {"content_block_start",
       R"("index":2,"content_block":{"type":"tool_use","id":"toolu_2","name":"weather","input":{}})"},
      {"content_block_delta",
       R"("index":2,"delta":{"type":"input_json_delta","partial_json":"{\"city\": \""})"},
      {"content_block_delta",
       R"("index":2,"delta":{"type":"input_json_delta","partial_json":"Rome"})"},
      {"content_block_delta",
       R"("index":2,"delta":{"type":"input_json_delta","partial_json":"\""})"},
      {"content_block_delta",
       R"("index":2,"delta":{"type":"input_json_delta","partial_json":"}"})"},
      {"content_block_stop", R"("index":2)"},
      {"message_delta",
       R"("delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":)" +
           std::to_string(num_prompt - 5) +
           R"(,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,"output_tokens":)" +
           usage["output_tokens"].dump() + "}"},
      {"message_stop", ""}};
  std::string expected;
  for (const auto& [name, members] : events) {
    expected += "event: " + name + "\ndata: {\"type\":\"" + name + "\"" +
                (members.empty() ? "" : ",") + members + "}\n\n";
  }
  EXPECT_EQ(testing::with_plain_ids(answer.bytes), expected);
  EXPECT_GT(signature.size(), 30U);
}

TEST(MessagesWriter, ThinkingThatIsNotShownIsSealedAllTheSame) {
  Json more = kThinking;
  more["thinking"]["display"] = "omitted";
  WireSession session(&add_routes, {"\nHm, well</think>So"});
  const WireAnswer answer = session.post("/v1/messages", request(more));
  EXPECT_EQ(answer.events[2].data["content_block"]["type"], "thinking");
  EXPECT_EQ(answer.events[3].data["delta"]["type"], "signature_delta");
  EXPECT_EQ(session.service().seal().open(
                "", answer.events[3].data["delta"]["signature"].get<std::string>()),
            "\nHm, well");
  more["stream"] = false;
  const WireAnswer whole = session.post("/v1/messages", request(more));
  EXPECT_EQ(whole.body["content"][0]["thinking"], "");
  // A seal is random and may hold any two letters.
  EXPECT_EQ(whole.bytes.find("Hm, well"), std::string::npos);
}

TEST(MessagesWriter, WithoutAStreamTheSameComesAsOneObject) {
  const std::string reply = "Hm</think>So" + v4_call("weather", {{"city", "Rome"}});
  Json more = kThinking;
  more["stream"] = false;
  const WireAnswer whole = answer_to(request(more), reply);
  ASSERT_EQ(whole.status, 200);
  EXPECT_EQ(whole.body["type"], "message");
  EXPECT_EQ(whole.body["role"], "assistant");
  EXPECT_EQ(whole.body["model"], "claude-x");
  EXPECT_EQ(whole.body["stop_reason"], "tool_use");
  const Json& content = whole.body["content"];
  ASSERT_EQ(content.size(), 3U);
  EXPECT_EQ(content[0]["thinking"], "Hm");
  EXPECT_EQ(content[1]["text"], "So");
  EXPECT_EQ(content[2]["input"]["city"], "Rome");
  EXPECT_EQ(content[2]["id"].get<std::string>().substr(0, 6), "toolu_");
  EXPECT_EQ(whole.headers.back().name, "request-id");
}

TEST(MessagesWriter, AMessageSaysWhyItStopped) {
  EXPECT_EQ(delta_of(answer_to(request(), "Hello"))["stop_reason"], "end_turn");
  EXPECT_EQ(delta_of(answer_to(request({{"max_tokens", 2}}), "One two three"))["stop_reason"],
            "max_tokens");
  const Json stopped =
      delta_of(answer_to(request({{"stop_sequences", {"nothing", "two"}}}), "One two three"));
  EXPECT_EQ(stopped["stop_reason"], "stop_sequence");
  EXPECT_EQ(stopped["stop_sequence"], "two");
  testing::WireOptions options;
  options.engine.max_context = 12;
  const WireAnswer full = answer_to(request({{"tools", Json::array()}}),
                                    "One two three four five six seven eight nine", options);
  EXPECT_EQ(delta_of(full)["stop_reason"], "model_context_window_exceeded");
}

TEST(MessagesWriter, ACallThatWasCutIsNoPartOfTheMessage) {
  const std::string reply = v4_call("weather", {{"city", std::string(400, 'x')}});
  const WireAnswer whole = answer_to(request({{"max_tokens", 30}, {"stream", false}}), reply);
  EXPECT_EQ(whole.body["stop_reason"], "max_tokens");
  EXPECT_TRUE(whole.body["content"].empty()) << whole.bytes;
  const WireAnswer streamed = answer_to(request({{"max_tokens", 30}}), reply);
  EXPECT_EQ(delta_of(streamed)["stop_reason"], "max_tokens");
  EXPECT_EQ(streamed.event("content_block_stop")["index"], 0);
}

TEST(MessagesWriter, FailuresHaveTheVendorsForm) {
  testing::WireOptions options;
  options.engine.failure = Error(ErrorCode::Internal, "broke");
  const WireAnswer streamed = answer_to(request(), "Hello", options);
  EXPECT_EQ(streamed.events.back().name, "error");
  EXPECT_EQ(streamed.events.back().data["type"], "error");
  EXPECT_EQ(streamed.events.back().data["error"]["type"], "api_error");
  EXPECT_EQ(streamed.events.back().data["error"]["message"], "broke");
  EXPECT_EQ(streamed.events.back().data["request_id"], "req_1");
  const WireAnswer whole = answer_to(request({{"stream", false}}), "Hello", options);
  EXPECT_EQ(whole.status, 500);
  EXPECT_EQ(whole.body["error"]["type"], "api_error");
  testing::WireOptions refusing;
  refusing.engine.refusal = Error(ErrorCode::Overloaded, "the queue is full");
  const WireAnswer refused = answer_to(request(), "Hello", refusing);
  EXPECT_FALSE(refused.is_stream);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.body["error"]["type"], "rate_limit_error");
}

TEST(MessagesWriter, ASilenceIsFilledWithPings) {
  testing::WireOptions options;
  options.engine.is_threaded = true;
  WireSession session(&add_routes, {"Hello"}, options);
  const auto exchange =
      session.start({.method = "POST", .path = "/v1/messages", .body = request().dump()});
  EXPECT_EQ(exchange->keep_alive(), "event: ping\ndata: {\"type\":\"ping\"}\n\n");
  EXPECT_TRUE(exchange->wait());
}

}  // namespace
}  // namespace fathom::anthropic
