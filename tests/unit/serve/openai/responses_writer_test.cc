#include "fathom/serve/openai/responses_writer.h"

#include <set>

#include <gtest/gtest.h>

#include "fathom/serve/openai/responses.h"

#include "tests/support/wire_session.h"

namespace fathom::openai {
namespace {

using fathom::testing::Json;
using fathom::testing::v4_call;
using fathom::testing::WireAnswer;
using fathom::testing::WireEvent;
using fathom::testing::WireSession;
using Names = std::vector<std::string>;

const Json kTools = Json::parse(R"([
  {"type": "function", "name": "weather", "strict": false,
   "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
  {"type": "custom", "name": "apply_patch", "description": "Edits files.",
   "format": {"type": "grammar", "syntax": "lark", "definition": "start: \"x\""}},
  {"type": "namespace", "name": "agents", "description": "Agents.", "tools": [
    {"type": "function", "name": "close", "parameters": {"type": "object", "properties": {}}}]}])");

Json request(const Json& more = Json::object()) {
  Json body = {{"model", "m"}, {"input", "Hi"}, {"stream", true}, {"tools", kTools}};
  body.update(more);
  return body;
}

WireAnswer answer_to(const Json& body,
                     const std::string& reply,
                     testing::WireOptions options = {}) {
  WireSession session(&add_responses_routes, {reply}, std::move(options));
  return session.post("/v1/responses", body);
}

// The name of the event is in the data too, and numbers count up.
void expect_well_formed(const WireAnswer& answer) {
  ASSERT_TRUE(answer.is_stream);
  std::int64_t last = -1;
  for (const WireEvent& event : answer.events) {
    EXPECT_EQ(event.data["type"], event.name);
    EXPECT_GT(event.data["sequence_number"].get<std::int64_t>(), last);
    last = event.data["sequence_number"];
  }
}

TEST(ResponsesWriter, ATextIsToldInTheOrderThatClientsRelyOn) {
  const WireAnswer answer =
      answer_to(request({{"reasoning", {{"effort", "none"}}}}), "Hello 世界!");
  expect_well_formed(answer);
  const Names names = answer.event_names();
  const Names begin = {"response.created", "response.in_progress", "response.output_item.added",
                       "response.content_part.added", "response.output_text.delta"};
  const Names end = {"response.output_text.done", "response.content_part.done",
                     "response.output_item.done", "response.completed"};
  ASSERT_GT(names.size(), begin.size() + end.size());
  EXPECT_EQ(Names(names.begin(), names.begin() + 5), begin);
  EXPECT_EQ(Names(names.end() - 4, names.end()), end);
  std::string text;
  for (const WireEvent& event : answer.events) {
    text +=
        event.name == "response.output_text.delta" ? event.data["delta"].get<std::string>() : "";
  }
  EXPECT_EQ(text, "Hello 世界!");
  EXPECT_EQ(answer.event("response.output_text.done")["text"], text);
  const Json& item = answer.event("response.output_item.done")["item"];
  EXPECT_EQ(item["role"], "assistant");
  EXPECT_EQ(item["content"][0]["text"], text);
  const Json& response = answer.event("response.completed")["response"];
  EXPECT_EQ(response["status"], "completed");
  EXPECT_EQ(response["output"][0], item);
}

TEST(ResponsesWriter, EveryByteOfAStreamWithReasoningAndACall) {
  const WireAnswer answer =
      answer_to({{"input", "Hi"}, {"stream", true}, {"store", false}, {"tools", {kTools[0]}}},
                "Hm</think>" + v4_call("weather", {{"city", "Rome"}}));
  const std::string echo =
      R"("instructions":null,"max_output_tokens":null,"max_tool_calls":null,"metadata":{},)"
      R"("parallel_tool_calls":true,"previous_response_id":null,"prompt_cache_key":null,)"
      R"("reasoning":{"effort": null, "summary": null},"safety_identifier":null,)"
      R"("service_tier":"default","store":false,"temperature":1.0,)"
      R"("text":{"format": {"type": "text"}},"tool_choice":"auto",)"
      R"("tools":[{"type": "function", "name": "weather", "strict": false, "parameters": )"
      R"({"type": "object", "properties": {"city": {"type": "string"}}}}],"top_logprobs":0,)"
      R"("top_p":1.0,"truncation":"disabled","user":null})";
  const std::string begun =
      R"("response":{"id":"resp_1","object":"response","created_at":0,"status":"in_progress",)"
      R"("background":false,"error":null,"incomplete_details":null,"model":"v4","output":[],)"
      R"("usage":null,)" +
      echo;
  const std::string reasoning =
      R"({"id":"rs_2","type":"reasoning","summary":[],"content":[{"type":"reasoning_text",)"
      R"("text":"Hm"}],"encrypted_content":null,"status":"completed"})";
  const std::string call =
      R"({"id":"fc_3","type":"function_call","call_id":"call_4","name":"weather",)"
      R"("arguments":"{\"city\": \"Rome\"}","status":"completed"})";
  const std::vector<std::string> events = {
      R"(response.created",)" + begun,
      R"(response.in_progress",)" + begun,
      R"(response.output_item.added","output_index":0,"item":{"id":"rs_2","type":"reasoning",)"
      R"("summary":[],"content":[],"encrypted_content":null,"status":"in_progress"})",
      R"(response.content_part.added","item_id":"rs_2","output_index":0,"content_index":0,)"
      R"("part":{"type":"reasoning_text","text":""})",
      R"(response.reasoning_text.delta","item_id":"rs_2","output_index":0,"content_index":0,)"
      R"("delta":"H")",
      R"(response.reasoning_text.delta","item_id":"rs_2","output_index":0,"content_index":0,)"
      R"("delta":"m")",
      R"(response.reasoning_text.done","item_id":"rs_2","output_index":0,"content_index":0,)"
      R"("text":"Hm")",
      R"(response.content_part.done","item_id":"rs_2","output_index":0,"content_index":0,)"
      R"("part":{"type":"reasoning_text","text":"Hm"})",
      R"(response.output_item.done","output_index":0,"item":)" + reasoning,
      R"(response.output_item.added","output_index":1,"item":{"id":"fc_3","type":"function_call",)"
      R"("call_id":"call_4","name":"weather","arguments":"","status":"in_progress"})",
      R"(response.function_call_arguments.delta","item_id":"fc_3","output_index":1,)"
      R"("delta":"{\"city\": \"")",
      R"(response.function_call_arguments.delta","item_id":"fc_3","output_index":1,"delta":"Rome")",
      R"(response.function_call_arguments.delta","item_id":"fc_3","output_index":1,"delta":"\"")",
      R"(response.function_call_arguments.delta","item_id":"fc_3","output_index":1,"delta":"}")",
      R"(response.function_call_arguments.done","item_id":"fc_3","output_index":1,)"
      R"("name":"weather","arguments":"{\"city\": \"Rome\"}")",
      R"(response.output_item.done","output_index":1,"item":)" + call,
      R"(response.completed","response":{"id":"resp_1","object":"response","created_at":0,)"
      R"("status":"completed","background":false,"error":null,"incomplete_details":null,)"
      R"("model":"v4","output":[)" +
          reasoning + "," + call +
          R"(],"usage":{"input_tokens":PROMPT,"input_tokens_details":{"cached_tokens":0},)"
          R"("output_tokens":REPLY,"output_tokens_details":{"reasoning_tokens":REASONING},)"
          R"("total_tokens":TOTAL},)" +
          echo,
  };
  std::string expected;
  for (std::size_t i = 0; i < events.size(); ++i) {
    expected += "event: " + events[i].substr(0, events[i].find('"')) + "\ndata: {\"type\":\"" +
                events[i] + ",\"sequence_number\":" + std::to_string(i) + "}\n\n";
  }
  const Json& usage = answer.events.back().data["response"]["usage"];
  const auto fill = [&expected](const std::string& name, const Json& value) {
    expected.replace(expected.find(name), name.size(), value.dump());
  };
  fill("PROMPT", usage["input_tokens"]);
  fill("REPLY", usage["output_tokens"]);
  fill("REASONING", usage["output_tokens_details"]["reasoning_tokens"]);
  fill("TOTAL", usage["total_tokens"]);
  EXPECT_EQ(testing::with_plain_ids(answer.bytes), expected);
  EXPECT_GT(usage["input_tokens"], 222) << "what the tool section has without a schema";
  EXPECT_EQ(usage["total_tokens"].get<int>(),
            usage["input_tokens"].get<int>() + usage["output_tokens"].get<int>());
  EXPECT_GT(usage["output_tokens_details"]["reasoning_tokens"], 0);
}

TEST(ResponsesWriter, AskedForASummaryReasoningIsToldAsOne) {
  const WireAnswer answer =
      answer_to(request({{"reasoning", {{"summary", "auto"}}}}), "Hm</think>Hello");
  expect_well_formed(answer);
  const Names names = answer.event_names();
  const Names begin = {"response.created",
                       "response.in_progress",
                       "response.output_item.added",
                       "response.reasoning_summary_part.added",
                       "response.reasoning_summary_text.delta",
                       "response.reasoning_summary_text.delta",
                       "response.reasoning_summary_text.done",
                       "response.reasoning_summary_part.done",
                       "response.output_item.done",
                       "response.output_item.added",
                       "response.content_part.added"};
  ASSERT_GT(names.size(), begin.size());
  EXPECT_EQ(Names(names.begin(), names.begin() + 11), begin);
  EXPECT_EQ(answer.event("response.reasoning_summary_text.delta")["summary_index"], 0);
  const Json& item = answer.event("response.output_item.done")["item"];
  EXPECT_EQ(item["summary"][0]["text"], "Hm");
  EXPECT_TRUE(item["content"].empty());
}

TEST(ResponsesWriter, CustomToolsGetTheirTextAndToolsOfANamespaceTheirNames) {
  const std::string patch = "*** Begin Patch\n+\"quoted\"\n*** End Patch";
  const std::string calls =
      "</think>\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"apply_patch\">\n"
      "<｜DSML｜parameter name=\"input\" string=\"true\">" +
      patch +
      "</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
      "<｜DSML｜invoke name=\"agents__close\">\n\n</｜DSML｜invoke>\n"
      "</｜DSML｜tool_calls>";
  const WireAnswer answer = answer_to(request(), calls);
  expect_well_formed(answer);
  EXPECT_EQ(answer.event("response.custom_tool_call_input.delta")["delta"], patch);
  EXPECT_EQ(answer.event("response.custom_tool_call_input.done")["input"], patch);
  const Json& output = answer.event("response.completed")["response"]["output"];
  ASSERT_EQ(output.size(), 2U);
  EXPECT_EQ(output[0]["type"], "custom_tool_call");
  EXPECT_EQ(output[0]["name"], "apply_patch");
  EXPECT_EQ(output[0]["input"], patch);
  EXPECT_EQ(output[0]["id"].get<std::string>().substr(0, 4), "ctc_");
  EXPECT_EQ(output[1]["type"], "function_call");
  EXPECT_EQ(output[1]["name"], "close");
  EXPECT_EQ(output[1]["namespace"], "agents");
  EXPECT_EQ(output[1]["arguments"], "{}");
  const std::set<std::string> ids = {output[0]["id"], output[0]["call_id"], output[1]["id"],
                                     output[1]["call_id"]};
  EXPECT_EQ(ids.size(), 4U);
}

TEST(ResponsesWriter, WhatIsCutIsIncompleteAndACutCallIsNotHandedOut) {
  const WireAnswer text =
      answer_to(request({{"max_output_tokens", 3}, {"reasoning", {{"effort", "none"}}}}),
                "One two three four");
  EXPECT_EQ(text.events.back().name, "response.incomplete");
  const Json& response = text.events.back().data["response"];
  EXPECT_EQ(response["status"], "incomplete");
  EXPECT_EQ(response["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(response["output"][0]["status"], "incomplete");
  EXPECT_EQ(response["output"][0]["content"][0]["text"], "One two three");

  const WireAnswer call =
      answer_to(request({{"max_output_tokens", 30}}),
                "</think>" + v4_call("weather", {{"city", std::string(400, 'x')}}));
  EXPECT_EQ(call.events.back().name, "response.incomplete");
  for (const WireEvent& event : call.events) {
    EXPECT_NE(event.name, "response.output_item.done") << event.data;
    EXPECT_NE(event.name, "response.function_call_arguments.done");
  }
  EXPECT_EQ(call.events.back().data["response"]["output"][0]["status"], "incomplete");
}

TEST(ResponsesWriter, WithoutAStreamTheSameComesAsOneObject) {
  const std::string reply = "Hm</think>Hello" + v4_call("weather", {{"city", "Rome"}});
  const WireAnswer streamed = answer_to(request(), reply);
  const WireAnswer whole = answer_to(request({{"stream", false}}), reply);
  ASSERT_FALSE(whole.is_stream);
  EXPECT_EQ(whole.status, 200);
  const Json& response = streamed.events.back().data["response"];
  EXPECT_EQ(testing::with_plain_ids(whole.body.dump()), testing::with_plain_ids(response.dump()));
  EXPECT_EQ(whole.body["object"], "response");
}

// The text that log-probabilities are of, by their bytes.
std::string text_of(const Json& entries) {
  std::string text;
  for (const Json& entry : entries) {
    EXPECT_EQ(entry["logprob"], -0.25);
    EXPECT_EQ(entry["top_logprobs"].size(), 1U);
    for (const Json& byte : entry["bytes"]) {
      text.push_back(static_cast<char>(byte.get<int>()));
    }
  }
  return text;
}

TEST(ResponsesWriter, LogprobsGoWithTheTextThatTheyAreOf) {
  const std::string reply = "Hm</think>Grüße 世界!\n" + v4_call("weather", {{"city", "Rome"}});
  const Json body =
      request({{"include", Json::array({"message.output_text.logprobs"})}, {"top_logprobs", 1}});
  const WireAnswer answer = answer_to(body, reply);
  expect_well_formed(answer);
  std::string text;
  std::string told;
  Json entries = Json::array();
  for (const WireEvent& event : answer.events) {
    if (event.name == "response.output_text.delta") {
      text += event.data["delta"];
      told += text_of(event.data["logprobs"]);
      EXPECT_TRUE(told.starts_with(text)) << "a text before its log-probabilities";
      for (const Json& entry : event.data["logprobs"]) {
        entries.push_back(entry);
      }
    }
  }
  EXPECT_TRUE(text.starts_with("Grüße 世界!")) << text;
  const Json& done = answer.event("response.output_text.done");
  EXPECT_EQ(done["logprobs"], entries);
  for (const WireEvent& event : answer.events) {
    if (event.name == "response.content_part.done" && event.data["part"]["type"] == "output_text") {
      EXPECT_EQ(event.data["part"]["logprobs"], entries);
    }
  }
  const Json& message = answer.events.back().data["response"]["output"][1];
  EXPECT_EQ(message["content"][0]["logprobs"], entries);
  EXPECT_EQ(answer.events.back().data["response"]["top_logprobs"], 1);
  // Nobody asked: none.
  EXPECT_EQ(answer_to(request(), reply).event("response.output_text.done")["logprobs"],
            Json::array());
}

TEST(ResponsesWriter, CachedTokensAreCounted) {
  testing::WireOptions options;
  options.engine.num_cached = 5;
  const WireAnswer answer = answer_to(request({{"stream", false}}), "</think>Hi", options);
  EXPECT_EQ(answer.body["usage"]["input_tokens_details"]["cached_tokens"], 5);
}

TEST(ResponsesWriter, AFailureOnTheWayIsToldAsTheLastEvent) {
  testing::WireOptions options;
  options.engine.failure = Error(ErrorCode::Overloaded, "too much to do; try again in 2s");
  const WireAnswer answer = answer_to(request(), "</think>Hi", options);
  expect_well_formed(answer);
  EXPECT_EQ(answer.events.back().name, "response.failed");
  const Json& response = answer.events.back().data["response"];
  EXPECT_EQ(response["status"], "failed");
  EXPECT_EQ(response["error"]["code"], "rate_limit_exceeded");
  EXPECT_EQ(response["error"]["message"], "too much to do; try again in 2s");

  const WireAnswer whole = answer_to(request({{"stream", false}}), "</think>Hi", options);
  EXPECT_EQ(whole.status, 429);
  EXPECT_EQ(whole.body["error"]["code"], "rate_limit_exceeded");
}

TEST(ResponsesWriter, ARefusalOfTheEngineIsNoStream) {
  testing::WireOptions options;
  options.engine.refusal = Error(ErrorCode::Overloaded, "the queue is full");
  const WireAnswer answer = answer_to(request(), "Hi", options);
  EXPECT_FALSE(answer.is_stream);
  EXPECT_EQ(answer.status, 429);
}

TEST(ResponsesWriter, ASilenceIsFilledWithEventsThatClientsParse) {
  testing::WireOptions options;
  options.engine.is_threaded = true;
  options.engine.token_delay = std::chrono::milliseconds(1);
  WireSession session(&add_responses_routes, {"</think>Hello"}, options);
  const auto exchange =
      session.start({.method = "POST", .path = "/v1/responses", .body = request().dump()});
  const auto alive = test::read_events(exchange->keep_alive());
  ASSERT_EQ(alive.size(), 1U);
  EXPECT_EQ(alive[0].name, "response.in_progress");
  EXPECT_EQ(Json::parse(alive[0].data)["response"]["status"], "in_progress");
  ASSERT_TRUE(exchange->wait());
  const WireAnswer answer = WireSession::read(*exchange);
  expect_well_formed(answer);
  for (const WireEvent& event : answer.events) {
    EXPECT_NE(event.data["sequence_number"], Json::parse(alive[0].data)["sequence_number"]);
  }
}

TEST(ResponsesWriter, AClientThatGoesAwayTakesItsRequestAlong) {
  testing::WireOptions options;
  options.engine.is_threaded = true;
  options.engine.token_delay = std::chrono::milliseconds(5);
  auto session = std::make_unique<WireSession>(
      &add_responses_routes, std::vector<std::string>{"</think>" + std::string(4000, 'x')},
      options);
  const auto exchange =
      session->start({.method = "POST", .path = "/v1/responses", .body = request().dump()});
  exchange->disconnect();
  EXPECT_EQ(session->engine().num_cancelled(), 1U);
  const std::size_t num_chunks = exchange->chunks().size();
  session.reset();  // the engine's thread has ended
  EXPECT_FALSE(exchange->is_complete());
  EXPECT_EQ(exchange->chunks().size(), num_chunks);
}

}  // namespace
}  // namespace fathom::openai
