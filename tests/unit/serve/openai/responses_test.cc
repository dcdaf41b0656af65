#include "fathom/serve/openai/responses.h"

#include <gtest/gtest.h>

#include "tests/support/client_recordings.h"
#include "tests/support/wire_session.h"

namespace fathom::openai {
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
  {"type": "function", "name": "weather",
   "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
  {"type": "custom", "name": "apply_patch"},
  {"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": "close"}]}])");

const std::string kWeatherCall = "\nHm\n</think>I look." + v4_call("weather", {{"city", "Rome"}});
// How the model's turn has to stand in the next prompt: byte for byte as it was sampled.
const std::string kWeatherTurn = "<｜Assistant｜><think>" + kWeatherCall + "<｜end▁of▁sentence｜>";

WireSession session_with(std::vector<std::string> replies, WireOptions options = {}) {
  return WireSession(&add_responses_routes, std::move(replies), std::move(options));
}

Json outputs_for(const Json& output, const std::string& result) {
  Json items = Json::array();
  for (const Json& item : output) {
    if (item.contains("call_id")) {
      const bool is_custom = item["type"] == "custom_tool_call";
      items.push_back({{"type", is_custom ? "custom_tool_call_output" : "function_call_output"},
                       {"call_id", item["call_id"]},
                       {"output", result}});
    }
  }
  return items;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Responses, AToolRoundTripWithTheFullHistoryRepeatsTheTurnExactly) {
  WireSession session = session_with({kWeatherCall, "</think>Sunny."});
  Json input = {{{"role", "user"}, {"content", "Weather?"}}};
  const Json base = {{"store", false},
                     {"tools", kTools},
                     {"include", {"reasoning.encrypted_content"}},
                     {"reasoning", {{"summary", "auto"}}}};
  Json body = base;
  body["input"] = input;
  const WireAnswer first = session.post("/v1/responses", body);
  ASSERT_EQ(first.status, 200) << first.bytes;
  const Json& output = first.body["output"];
  ASSERT_EQ(output.size(), 3U);
  EXPECT_TRUE(output[0]["encrypted_content"].is_string());
  for (const Json& item : output) {
    input.push_back(item);
  }
  for (const Json& item : outputs_for(output, "20")) {
    input.push_back(item);
  }
  body["input"] = input;
  const WireAnswer second = session.post("/v1/responses", body);
  ASSERT_EQ(second.status, 200) << second.bytes;
  EXPECT_TRUE(contains(session.last_prompt(), kWeatherTurn)) << session.last_prompt();
  EXPECT_TRUE(contains(session.last_prompt(), "<tool_result>20</tool_result>"));
  EXPECT_EQ(second.body["output"].back()["content"][0]["text"], "Sunny.");
}

TEST(Responses, AClientThatSendsBackOnlyTheCallGetsItsReasoningRestored) {
  WireSession session = session_with({kWeatherCall, "</think>Sunny."});
  Json body = {{"store", false}, {"tools", kTools}, {"input", "Weather?"}};
  const WireAnswer first = session.post("/v1/responses", body);
  Json call = first.body["output"].back();
  call["arguments"] = R"({ "city" : "Rome" })";
  call.erase("id");
  body["input"] = Json::array({{{"role", "user"}, {"content", "Weather?"}},
                               {{"role", "assistant"}, {"content", "I look."}},
                               call,
                               outputs_for(first.body["output"], "20")[0]});
  ASSERT_EQ(session.post("/v1/responses", body).status, 200);
  EXPECT_TRUE(contains(session.last_prompt(), kWeatherTurn)) << session.last_prompt();
}

TEST(Responses, ARoundTripByPreviousIdNeedsOnlyTheOutput) {
  WireSession session = session_with({kWeatherCall, "</think>Sunny.", "</think>Bye."});
  const WireAnswer first = session.post(
      "/v1/responses", {{"tools", kTools}, {"instructions", "Be brief."}, {"input", "Weather?"}});
  const WireAnswer second =
      session.post("/v1/responses", {{"tools", kTools},
                                     {"previous_response_id", first.body["id"]},
                                     {"input", outputs_for(first.body["output"], "20")}});
  ASSERT_EQ(second.status, 200) << second.bytes;
  EXPECT_EQ(second.body["previous_response_id"], first.body["id"]);
  EXPECT_TRUE(contains(session.last_prompt(), "<｜User｜>Weather?" + kWeatherTurn));
  EXPECT_FALSE(contains(session.last_prompt(), "Be brief."));
  const WireAnswer third = session.post(
      "/v1/responses",
      {{"tools", kTools}, {"previous_response_id", second.body["id"]}, {"input", "Thanks"}});
  ASSERT_EQ(third.status, 200) << third.bytes;
  EXPECT_TRUE(contains(session.last_prompt(), kWeatherTurn));
  EXPECT_TRUE(
      contains(session.last_prompt(), "</think>Sunny.<｜end▁of▁sentence｜><｜User｜>Thanks"));
}

TEST(Responses, CustomAndNamespacedCallsComeBackUnderTheNamesTheModelUsed) {
  const std::string calls =
      "</think>\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"apply_patch\">\n"
      "<｜DSML｜parameter name=\"input\" string=\"true\">*** \"x\"\n+y</｜DSML｜parameter>\n"
      "</｜DSML｜invoke>\n<｜DSML｜invoke name=\"agents__close\">\n\n</｜DSML｜invoke>\n"
      "</｜DSML｜tool_calls>";
  WireSession session = session_with({calls, "</think>Done."});
  Json input = {{{"role", "user"}, {"content", "Patch."}}};
  Json body = {{"store", false}, {"tools", kTools}, {"input", input}};
  const WireAnswer first = session.post("/v1/responses", body);
  for (const Json& item : first.body["output"]) {
    input.push_back(item);
  }
  for (const Json& item : outputs_for(first.body["output"], "ok")) {
    input.push_back(item);
  }
  body["input"] = input;
  const WireAnswer second = session.post("/v1/responses", body);
  ASSERT_EQ(second.status, 200) << second.bytes;
  EXPECT_TRUE(contains(session.last_prompt(), "<think>" + calls + "<｜end▁of▁sentence｜>"))
      << session.last_prompt();
}

TEST(Responses, ItemsMayBeReferredToWhereResponsesAreStored) {
  WireSession session = session_with({kWeatherCall, "</think>Sunny."});
  const WireAnswer first =
      session.post("/v1/responses", {{"tools", kTools}, {"input", "Weather?"}});
  Json input = {{{"role", "user"}, {"content", "Weather?"}}};
  for (const Json& item : first.body["output"]) {
    input.push_back({{"type", "item_reference"}, {"id", item["id"]}});
  }
  input.push_back(outputs_for(first.body["output"], "20")[0]);
  const WireAnswer second = session.post("/v1/responses", {{"tools", kTools}, {"input", input}});
  ASSERT_EQ(second.status, 200) << second.bytes;
  EXPECT_TRUE(contains(session.last_prompt(), kWeatherTurn)) << session.last_prompt();
}

TEST(Responses, AStoredResponseCanBeReadAndDeletedByItsOwnerAlone) {
  WireSession session = session_with({"</think>Hello"});
  const WireAnswer made = session.send(
      {.method = "POST", .path = "/responses", .body = R"({"input": "Hi"})", .key_name = "ann"});
  const std::string path = "/v1/responses/" + made.body["id"].get<std::string>();
  const auto as = [&](const std::string& method, const std::string& key) {
    return session.send({.method = method, .path = path, .key_name = key});
  };
  EXPECT_EQ(as("GET", "ann").body, made.body);
  EXPECT_EQ(as("GET", "bob").status, 404);
  EXPECT_EQ(as("DELETE", "bob").status, 404);
  EXPECT_EQ(as("DELETE", "ann").body["deleted"], true);
  EXPECT_EQ(as("GET", "ann").status, 404);
  EXPECT_EQ(as("GET", "ann").body["error"]["type"], "invalid_request_error");
}

TEST(Responses, WhatShallNotBeStoredCannotBeAskedFor) {
  WireSession session = session_with({kWeatherCall});
  const WireAnswer made =
      session.post("/v1/responses", {{"input", "Hi"}, {"store", false}, {"tools", kTools}});
  const std::string id = made.body["id"];
  const std::string call_id = made.body["output"].back()["call_id"];
  for (const std::string& name : {id, call_id}) {
    EXPECT_EQ(session.send({.method = "GET", .path = "/v1/responses/" + name}).status, 404);
    const WireAnswer next =
        session.post("/v1/responses", {{"input", "x"}, {"previous_response_id", name}});
    EXPECT_EQ(next.status, 400);
    EXPECT_EQ(next.body["error"]["param"], "previous_response_id");
    EXPECT_TRUE(contains(next.body["error"]["message"], "replay the full input"));
  }
}

TEST(Responses, WithTheStoreOffEverythingElseWorks) {
  WireOptions options;
  options.service.num_stored = 0;
  WireSession session = session_with({"</think>Hello"}, options);
  const WireAnswer made = session.post("/v1/responses", {{"input", "Hi"}});
  EXPECT_EQ(made.status, 200);
  const WireAnswer next =
      session.post("/v1/responses", {{"input", "x"}, {"previous_response_id", made.body["id"]}});
  EXPECT_EQ(next.status, 400);
  EXPECT_TRUE(contains(next.body["error"]["message"], "replay the full input"));
}

TEST(Responses, ErrorsHaveTheVendorsForm) {
  WireOptions options;
  options.engine.max_context = 20;
  options.service.strict_models = true;
  WireSession session = session_with({"Hi"}, options);
  const WireAnswer too_long =
      session.post("/v1/responses", {{"model", "v4"}, {"input", std::string(200, 'x') + " y z"}});
  EXPECT_EQ(too_long.status, 400);
  EXPECT_EQ(too_long.body["error"]["code"], "context_length_exceeded");
  const WireAnswer unknown = session.post("/v1/responses", {{"model", "gpt"}, {"input", "Hi"}});
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.body["error"]["code"], "model_not_found");
  const WireAnswer image = session.post(
      "/v1/responses", Json::parse(R"({"model": "v4", "input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": "data:image/png;base64,AA"}]}]})"));
  EXPECT_EQ(image.status, 400);
  EXPECT_EQ(image.body["error"]["param"], "input[0].content[0]");
  EXPECT_EQ(image.body["error"]["code"], "unsupported_content");
  for (const char* const body : {"", "[]", "{", "{\"input\": \"\\ud800\"}", "\xff"}) {
    EXPECT_EQ(session.send({.method = "POST", .path = "/v1/responses", .body = body}).status, 400)
        << body;
  }
}

// What the recordings' README says a client cannot do without.
void expect_what_clients_need(const WireAnswer& answer, const std::string& name) {
  bool has_item = false;
  Json response = answer.body;
  for (const WireEvent& event : answer.events) {
    EXPECT_EQ(event.data["type"], event.name) << name;
    if (event.name == "response.output_item.done") {
      has_item = true;
    }
    if (event.name == "response.output_text.delta") {
      EXPECT_TRUE(event.data.contains("content_index")) << name;
    }
  }
  if (answer.is_stream) {
    ASSERT_EQ(answer.events.front().name, "response.created") << name;
    ASSERT_EQ(answer.events.back().name, "response.completed") << name;
    EXPECT_TRUE(has_item) << name;
    response = answer.events.back().data["response"];
  }
  EXPECT_TRUE(response["id"].is_string()) << name;
  EXPECT_GT(response["usage"]["total_tokens"], 0) << name;
  for (const Json& item : response["output"]) {
    if (item["type"] == "function_call") {
      EXPECT_TRUE(item["call_id"].is_string() && item["arguments"].is_string()) << name;
      EXPECT_NO_THROW(Json::parse(item["arguments"].get<std::string>())) << name;
    } else if (item["type"] == "message") {
      EXPECT_EQ(item["role"], "assistant") << name;
      EXPECT_TRUE(item["content"][0]["text"].is_string()) << name;
    }
  }
}

class RecordedResponses : public ::testing::TestWithParam<const char*> {};

TEST_P(RecordedResponses, AreAnswered) {
  for (const RecordedRequest& recorded : read_recordings(GetParam(), "/v1/responses")) {
    const bool has_tools = recorded.body.contains("tools") && !recorded.body["tools"].empty();
    WireSession session = session_with(
        {has_tools ? "Hm</think>" + v4_call(recorded.body["tools"][0]["name"], {{"cmd", "ls"}})
                   : "</think>done"});
    if (recorded.body.contains("previous_response_id")) {
      session.service().store()->put("", {recorded.body["previous_response_id"]}, {});
    }
    const WireAnswer answer = session.send(recorded.request);
    ASSERT_EQ(answer.status, 200) << recorded.name << ": " << answer.bytes;
    EXPECT_EQ(answer.is_stream, recorded.body.value("stream", false)) << recorded.name;
    expect_what_clients_need(answer, recorded.name);
    EXPECT_EQ(answer.bytes.find("DSML"), std::string::npos) << recorded.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Clients,
                         RecordedResponses,
                         ::testing::Values("codex",
                                           "codex_variants",
                                           "opencode_variants",
                                           "openai_node",
                                           "openai_node_v6",
                                           "openai_python"),
                         [](const auto& param) { return std::string(param.param); });

TEST(Responses, CodexFindsItsFieldsWhereItLooksForThem) {
  const RecordedRequest recorded = read_recordings("codex", "/v1/responses").front();
  WireSession session = session_with({"Hm</think>" + v4_call("exec_command", {{"cmd", "ls"}})});
  const WireAnswer answer = session.send(recorded.request);
  const Json& reasoning = answer.event("response.output_item.done")["item"];
  EXPECT_EQ(reasoning["type"], "reasoning");
  EXPECT_EQ(reasoning["summary"][0]["text"], "Hm") << "it asks for a summary";
  EXPECT_TRUE(reasoning["encrypted_content"].is_string()) << "it includes it";
  const Json& call = answer.event("response.completed")["response"]["output"][1];
  EXPECT_EQ(call["name"], "exec_command");
  EXPECT_EQ(call["arguments"], R"({"cmd": "ls"})");
  // Nested tools are offered, hosted ones are not.
  EXPECT_TRUE(contains(session.last_prompt(), "multi_agent_v1__spawn_agent"));
  EXPECT_FALSE(contains(session.last_prompt(), "web_search"));
  // The second request of the recording, with what this server answered to the first.
  Json body = read_recordings("codex", "/v1/responses").back().body;
  Json& input = body["input"];
  const std::size_t first_echo = input.size() - 3;
  input[first_echo] = reasoning;
  input[first_echo + 1] = call;
  input[first_echo + 2]["call_id"] = call["call_id"];
  const WireAnswer next = session.post("/v1/responses", body);
  EXPECT_EQ(next.events.back().name, "response.completed") << next.bytes;
  EXPECT_TRUE(contains(session.last_prompt(),
                       "<think>Hm</think>" + v4_call("exec_command", {{"cmd", "ls"}})));
}

}  // namespace
}  // namespace fathom::openai
