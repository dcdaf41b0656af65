#include "fathom/serve/openai/routes.h"

#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/test_api.h"

namespace fathom::openai {
namespace {

using fathom::testing::ExchangePtr;
using fathom::testing::ReplayOptions;
using fathom::testing::replying;
using fathom::testing::TestApi;
using Json = nlohmann::json;

struct Recorded {
  std::string name;  // file and line
  http::Request request;
  Json body;
};

std::vector<Recorded> recorded_requests(const std::string& client) {
  std::ifstream file(std::string(FATHOM_SOURCE_DIR "/tests/data/clients/") + client + ".jsonl");
  EXPECT_TRUE(file.good()) << client;
  std::vector<Recorded> requests;
  std::string line;
  while (std::getline(file, line)) {
    const Json request = Json::parse(line)["request"];
    Recorded recorded;
    recorded.name = client + ":" + std::to_string(requests.size() + 1);
    recorded.body = request["body"];
    recorded.request.method = request["method"];
    recorded.request.path = request["path"];
    for (const Json& header : request["headers"]) {
      recorded.request.headers.push_back({header[0], header[1]});
    }
    if (!recorded.body.is_null()) {
      recorded.request.body = recorded.body.dump();
    }
    requests.push_back(std::move(recorded));
  }
  return requests;
}

bool is_ours(const std::string& path) {
  return path != "/v1/responses" && path != "/v1/messages";
}

// A reply that calls the first tool where there is one and no result yet, as a model would.
std::string scripted_reply(const engine::PreparedRequest& request) {
  const bool is_reasoning = request.reply_start == text::ReplyStart::Reasoning;
  const std::string begin = is_reasoning ? "Let me think.</think>" : "";
  if (request.syntax->has_tools()) {
    return begin +
           "Calling.\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get_weather\">\n"
           "<｜DSML｜parameter name=\"city\" string=\"true\">Rome</｜DSML｜parameter>\n"
           "</｜DSML｜invoke>\n</｜DSML｜tool_calls>";
  }
  return begin + "done";
}

const TestApi& scripted_api() {
  static const TestApi kApi(add_routes, {.reply = [](const engine::PreparedRequest& request,
                                                     Index) { return scripted_reply(request); }});
  return kApi;
}

void check_usage(const Json& usage, const std::string& name) {
  for (const char* const field : {"prompt_tokens", "completion_tokens", "total_tokens"}) {
    EXPECT_TRUE(usage[field].is_number_integer()) << name << " " << field;
  }
  EXPECT_EQ(usage["prompt_tokens"].get<int>() + usage["completion_tokens"].get<int>(),
            usage["total_tokens"].get<int>());
}

void check_call(const Json& call, const std::string& name) {
  EXPECT_TRUE(call["id"].is_string() && !call["id"].get<std::string>().empty()) << name;
  EXPECT_EQ(call["type"], "function") << name;
  EXPECT_TRUE(call["function"]["name"].is_string()) << name;
}

// What the clients were seen to need of a whole chat.
void check_chat(const Recorded& recorded, const Json& answer) {
  EXPECT_EQ(answer["object"], "chat.completion");
  EXPECT_EQ(answer["model"], recorded.body["model"]) << recorded.name;
  EXPECT_TRUE(answer["id"].is_string() && answer["created"].is_number_integer());
  ASSERT_EQ(answer["choices"].size(), 1U) << recorded.name;
  const Json& choice = answer["choices"][0];
  EXPECT_EQ(choice["index"], 0);
  EXPECT_TRUE(choice["finish_reason"].is_string()) << recorded.name;
  EXPECT_EQ(choice["message"]["role"], "assistant");
  EXPECT_TRUE(choice["message"].contains("content"));
  for (const Json& call : choice["message"].value("tool_calls", Json::array())) {
    check_call(call, recorded.name);
    EXPECT_TRUE(Json::accept(call["function"]["arguments"].get<std::string>())) << recorded.name;
  }
  EXPECT_EQ(choice["finish_reason"] == "tool_calls", choice["message"].contains("tool_calls"));
  const bool wants_logprobs = recorded.body.value("logprobs", false);
  EXPECT_EQ(choice["logprobs"].is_object(), wants_logprobs) << recorded.name;
  check_usage(answer["usage"], recorded.name);
}

// What they need of a stream: a role first, one finish reason, the first piece of a call with id,
// index and name, usage alone in its chunk, the end mark.
void check_chat_stream(const Recorded& recorded, const std::string& stream) {
  const std::vector<test::ServerEvent> events = test::read_events(stream);
  ASSERT_GE(events.size(), 3U) << recorded.name;
  EXPECT_EQ(events.back().data, "[DONE]");
  bool wants_usage = false;
  if (recorded.body.contains("stream_options")) {
    wants_usage = recorded.body["stream_options"].value("include_usage", false);
  }
  int num_finished = 0;
  std::size_t num_calls = 0;
  std::string id;
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    const Json chunk = Json::parse(events[i].data);
    EXPECT_EQ(chunk["object"], "chat.completion.chunk");
    EXPECT_TRUE(id.empty() || chunk["id"] == id) << recorded.name;
    id = chunk["id"];
    if (wants_usage && i + 2 == events.size()) {
      EXPECT_TRUE(chunk["choices"].is_array() && chunk["choices"].empty()) << recorded.name;
      check_usage(chunk["usage"], recorded.name);
      continue;
    }
    EXPECT_EQ(chunk.contains("usage"), wants_usage);
    ASSERT_EQ(chunk["choices"].size(), 1U) << recorded.name;
    const Json& choice = chunk["choices"][0];
    EXPECT_EQ(choice["index"], 0);
    ASSERT_TRUE(choice["delta"].is_object()) << recorded.name;
    EXPECT_EQ(choice["delta"].contains("role"), i == 0) << recorded.name;
    num_finished += choice["finish_reason"].is_string() ? 1 : 0;
    for (const Json& call : choice["delta"].value("tool_calls", Json::array())) {
      const std::size_t index = call["index"];
      ASSERT_LE(index, num_calls) << recorded.name;
      if (index == num_calls) {
        check_call(call, recorded.name);
        ++num_calls;
      }
    }
  }
  EXPECT_EQ(num_finished, 1) << recorded.name;
}

void check_completion(const Recorded& recorded, const Json& answer) {
  EXPECT_EQ(answer["object"], "text_completion");
  const Json& prompt = recorded.body["prompt"];
  const bool is_batch = prompt.is_array() && !prompt[0].is_number();
  ASSERT_EQ(answer["choices"].size(), is_batch ? prompt.size() : 1U) << recorded.name;
  for (std::size_t i = 0; i < answer["choices"].size(); ++i) {
    const Json& choice = answer["choices"][i];
    EXPECT_EQ(choice["index"], i);
    EXPECT_TRUE(choice["text"].is_string() && choice["finish_reason"].is_string());
    if (recorded.body.contains("logprobs") && prompt.is_array() && prompt[0].is_array()) {
      EXPECT_EQ(choice["logprobs"]["token_logprobs"].size(), prompt[i].size() + 1);
      EXPECT_EQ(choice["logprobs"]["top_logprobs"].size(), prompt[i].size() + 1);
    }
  }
  check_usage(answer["usage"], recorded.name);
}

void check(const Recorded& recorded, const ExchangePtr& exchange) {
  EXPECT_EQ(exchange->misuse(), "") << recorded.name;
  const bool is_chat = recorded.request.path == "/v1/chat/completions";
  if (!recorded.body.is_null() && recorded.body.value("stream", false)) {
    EXPECT_TRUE(exchange->is_streaming() && exchange->is_complete()) << recorded.name;
    if (is_chat) {
      check_chat_stream(recorded, exchange->events());
    }
    return;
  }
  ASSERT_TRUE(exchange->response()) << recorded.name;
  const http::Response response = exchange->response().value();
  EXPECT_EQ(response.status, 200) << recorded.name << " " << response.body;
  const Json answer = Json::parse(response.body);
  if (is_chat) {
    check_chat(recorded, answer);
  } else if (recorded.request.path == "/v1/completions") {
    check_completion(recorded, answer);
  }
}

class RecordedClients : public ::testing::TestWithParam<const char*> {};

TEST_P(RecordedClients, AreAnsweredWithWhatTheyNeed) {
  Index num_sent = 0;
  for (const Recorded& recorded : recorded_requests(GetParam())) {
    if (is_ours(recorded.request.path)) {
      check(recorded, scripted_api().send(recorded.request));
      ++num_sent;
    }
  }
  EXPECT_GE(num_sent, 6);
}

INSTANTIATE_TEST_SUITE_P(OpenAi,
                         RecordedClients,
                         ::testing::Values("ai_sdk_deepseek",
                                           "ai_sdk_openai_compatible",
                                           "ai_sdk_v6_deepseek",
                                           "ai_sdk_v6_openai_compatible",
                                           "lm_eval",
                                           "openai_node",
                                           "openai_node_v6",
                                           "openai_python",
                                           "opencode"),
                         [](const auto& parameter) { return std::string(parameter.param); });

struct WrongRequest {
  std::string_view path;
  std::string_view body;
  int status;
  std::string_view param;  // empty: null
  std::string_view code;
};

TEST(Routes, WhatIsWrongIsAnsweredWithItsField) {
  const std::string long_prompt = R"({"prompt":")" + std::string(4000, 'x') + R"( y"})";
  const std::vector<WrongRequest> cases = {
      {"/v1/chat/completions", "", 400, "", "invalid_value"},
      {"/v1/chat/completions", "{", 400, "", "invalid_value"},
      {"/v1/chat/completions", "[]", 400, "", "invalid_value"},
      {"/v1/chat/completions", "{}", 400, "messages", "invalid_value"},
      {"/v1/chat/completions", R"({"messages":[{"role":"x"}]})", 400, "messages[0].role",
       "invalid_value"},
      {"/v1/chat/completions", R"({"messages":[{"role":"user","content":"\ud800"}]})", 400, "",
       "invalid_value"},
      {"/v1/chat/completions", R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})",
       400, "messages[0].content[0]", "unsupported_content"},
      {"/v1/chat/completions",
       R"({"messages":[{"role":"user"}],"response_format":{"type":"json_schema","json_schema":
           {"schema":{"type":"string","minLength":-1}}}})",
       400, "response_format", "invalid_value"},
      {"/v1/chat/completions", R"({"messages":[{"role":"user"}],"guided_regex":"(a"})", 400,
       "guided_regex", "invalid_value"},
      {"/v1/chat/completions", R"({"messages":[{"role":"user"}],"guided_grammar":"x"})", 400,
       "guided_grammar", "invalid_value"},
      {"/v1/chat/completions", R"({"messages":[{"role":"user"}],"tool_choice":"required"})", 400,
       "tool_choice", "invalid_value"},
      {"/v1/chat/completions", R"({"messages":[{"role":"user"}],"logit_bias":{"129280":1}})", 400,
       "logit_bias", "invalid_value"},
      {"/v1/chat/completions", R"({"messages":[{"role":"user"}],"stop_token_ids":[129280]})", 400,
       "stop_token_ids[0]", "invalid_value"},
      {"/v1/completions", "{}", 400, "prompt", "invalid_value"},
      {"/v1/completions", R"({"prompt":[129280]})", 400, "prompt[0]", "invalid_value"},
      {"/v1/completions", long_prompt, 400, "prompt", "context_length_exceeded"},
      {"/v1/embeddings", "{}", 404, "", "not_found"},
      {"/tokenize", "{}", 400, "content", "invalid_value"},
      {"/v1/render", R"({"messages":7})", 400, "messages", "invalid_value"},
  };
  ReplayOptions options = replying("x");
  options.max_context = 300;
  const TestApi api(add_routes, options);
  for (const WrongRequest& wrong : cases) {
    const ExchangePtr exchange = api.post(std::string(wrong.path), std::string(wrong.body));
    ASSERT_TRUE(exchange->response()) << wrong.body;
    const http::Response response = exchange->response().value();
    EXPECT_EQ(response.status, wrong.status) << wrong.body << " " << response.body;
    const Json error = Json::parse(response.body)["error"];
    EXPECT_EQ(error["param"].is_null() ? "" : error["param"].get<std::string>(), wrong.param)
        << response.body;
    EXPECT_EQ(error["code"], wrong.code) << response.body;
    EXPECT_TRUE(error["message"].is_string() && error["type"].is_string());
  }
}

TEST(Routes, ModelsWithStrictNamesAreFoundOrNot) {
  const TestApi strict(add_routes, replying("</think>x"), {.strict_models = true});
  const std::string rest = R"("messages":[{"role":"user","content":"Hi"}]})";
  const http::Response missing =
      strict.post("/v1/chat/completions", R"({"model":"gpt",)" + rest)->response().value();
  EXPECT_EQ(missing.status, 404);
  EXPECT_NE(missing.body.find("model_not_found"), std::string::npos);
  const http::Response served =
      strict.post("/v1/chat/completions", R"({"model":"test-model",)" + rest)->response().value();
  EXPECT_EQ(served.status, 200);
}

TEST(Routes, PathsOfOtherServersOfThisApiWorkToo) {
  const std::string chat = R"({"messages":[{"role":"user","content":"Hi"}]})";
  const std::string completion = R"({"prompt":"a"})";
  for (const char* const prefix : {"", "/v1", "/beta"}) {
    const std::string begin = prefix;
    EXPECT_EQ(scripted_api().post(begin + "/chat/completions", chat)->response()->status, 200);
    EXPECT_EQ(scripted_api().post(begin + "/completions", completion)->response()->status, 200);
  }
}

TEST(Routes, WithoutAModelClientsAreToldToAskAgain) {
  http::Router router;
  add_routes(router, std::make_shared<wire::Service>(wire::ServiceOptions{}));
  for (const auto& [method, path, body] :
       std::vector<std::tuple<std::string, std::string, std::string>>{
           {"POST", "/v1/chat/completions", R"({"messages":[{"role":"user"}]})"},
           {"POST", "/v1/completions", R"({"prompt":"a"})"},
           {"POST", "/tokenize", R"({"prompt":"a"})"},
           {"POST", "/detokenize", R"({"tokens":[1]})"},
           {"GET", "/tokenizer_info", ""},
           {"GET", "/v1/models", ""},
           {"GET", "/v1/models/x", ""}}) {
    const auto exchange = std::make_shared<test::FakeExchange>(
        http::Request{.method = method, .path = path, .body = body});
    (*router.find(method, path).handler)(exchange);
    EXPECT_EQ(exchange->response().value().status, 503) << path;
  }
}

}  // namespace
}  // namespace fathom::openai
