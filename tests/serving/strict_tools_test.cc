// Calls of strict tools, as clients of three APIs get them from a model with random weights that
// says anything: the real engine and the real routes, and a temperature at which nothing is likely.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "fathom/model/text/chat_format.h"
#include "fathom/model/text/dialect.h"
#include "fathom/serve/anthropic/messages.h"
#include "fathom/serve/http/router.h"
#include "fathom/serve/openai/responses.h"
#include "fathom/serve/openai/routes.h"
#include "fathom/serve/wire/service.h"

#include "tests/support/fake_exchange.h"
#include "tests/support/schema_oracle.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/serve/engine/engine_testing.h"

namespace fathom {
namespace {

using Json = nlohmann::json;

#ifdef FATHOM_SANITISED
constexpr int kNumRequests = 24;
#else
constexpr int kNumRequests = 120;
#endif

struct ControlToken {
  const char* text;
  engine::TokenId id;
};
constexpr engine::TokenId kDsml = 504;
constexpr engine::TokenId kEndOfThink = 506;
constexpr ControlToken kControls[] = {{"｜DSML｜", kDsml},
                                      {"<think>", 505},
                                      {"</think>", kEndOfThink},
                                      {"<｜begin▁of▁sentence｜>", 507},
                                      {"<｜end▁of▁sentence｜>", 508},
                                      {"<｜User｜>", 509},
                                      {"<｜Assistant｜>", 510},
                                      {"<｜latest_reminder｜>", 511}};

// Bytes, the words of calls and what they begin with, pairs of letters, `<end>` and V4's control
// tokens: the 512 ids of the tiny model.
text::TextModel tiny_v4_text() {
  text::Merges merges = {{"<", "/"}, {"\"", ">"}};
  const auto add = [&](const std::string& left, const std::string& right) {
    const bool is_new = std::none_of(merges.begin(), merges.end(), [&](const auto& merge) {
      return merge.first + merge.second == left + right;
    });
    if (is_new && merges.size() < 247) {
      merges.emplace_back(left, right);
    }
  };
  for (const std::string word : {"parameter", "invoke", "string", "name", "false", "true",
                                 "tool_calls", "weather", "celsius", "fahrenheit", "arguments"}) {
    for (std::size_t length = 1; length < word.size(); ++length) {
      add(word.substr(0, length), word.substr(length, 1));
    }
  }
  for (char left = 'a'; left <= 'z'; ++left) {
    for (char right = 'a'; right <= 'z'; ++right) {
      add(std::string(1, left), std::string(1, right));
    }
  }
  Json document = text::small_document(merges);
  for (const ControlToken& token : kControls) {
    document["added_tokens"].push_back(
        {{"id", token.id}, {"content", token.text}, {"special", true}});
  }
  return text::make_text_model(text::parse(document),
                               text::make_v4_format(text::dialect_from_name("preview")));
}

// The tiny model with room for the prompt that tools have.
std::string roomy_checkpoint() {
  static const test::TempDir kFolder;
  static const std::string kPath = [] {
    const std::filesystem::path path = kFolder.path() / "flash-tiny";
    std::filesystem::copy(engine::tiny_checkpoint(), path,
                          std::filesystem::copy_options::recursive);
    Json config = Json::parse(test::read_file(path / "config.json"));
    config["max_position_embeddings"] = 4096;
    std::ofstream(path / "config.json") << config.dump();
    return path.string();
  }();
  return kPath;
}

// A call as a client has it.
struct Call {
  std::string name;
  std::string arguments;
  bool operator==(const Call&) const = default;
};

class StrictServer {
 public:
  explicit StrictServer(engine::Drafts drafts) {
    ModelOptions model = engine::tiny_options();
    model.max_context = 4000;
    engine::EngineOptions options = engine::small_engine();
    options.max_running = 25;
    options.step_tokens = 256;
    options.drafts = drafts;
    engine_ = std::make_shared<engine::LocalEngine>(open_engine_model(roomy_checkpoint(), model),
                                                    tiny_v4_text(), options);
    const auto service = std::make_shared<wire::Service>(
        std::vector<wire::ServedModel>{{.name = "tiny", .engine = engine_, .created_s = 1}},
        wire::ServiceOptions{});
    openai::add_routes(router_, service);
    openai::add_responses_routes(router_, service);
    anthropic::add_routes(router_, service);
  }

  std::shared_ptr<test::FakeExchange> post(const std::string& path, const Json& body) {
    const auto exchange = std::make_shared<test::FakeExchange>(
        http::Request{.method = "POST", .path = path, .body = body.dump()});
    (*router_.find("POST", path).handler)(exchange);
    return exchange;
  }

  // The answers to all, many of which are computed at once.
  std::vector<Json> ask(const std::string& path, const std::vector<Json>& bodies) {
    std::vector<Json> answers;
    for (std::size_t first = 0; first < bodies.size(); first += 25) {
      std::vector<std::shared_ptr<test::FakeExchange>> exchanges;
      for (std::size_t i = first; i < std::min(first + 25, bodies.size()); ++i) {
        exchanges.push_back(post(path, bodies[i]));
      }
      for (const auto& exchange : exchanges) {
        EXPECT_TRUE(exchange->wait());
        const http::Response answer = exchange->response().value();
        EXPECT_EQ(answer.status, 200) << answer.body;
        answers.push_back(Json::parse(answer.body));
      }
    }
    return answers;
  }

  engine::EngineStats stats() const { return engine_->stats(); }

 private:
  std::shared_ptr<engine::LocalEngine> engine_;
  http::Router router_;
};

const std::map<std::string, Json>& schemas() {
  static const std::map<std::string, Json> kSchemas = {
      {"get_weather", Json::parse(R"({"type": "object", "additionalProperties": false,
           "required": ["city", "days", "unit"], "properties": {
             "city": {"type": "string", "minLength": 1, "maxLength": 6},
             "days": {"type": "integer", "minimum": 1, "maximum": 14},
             "unit": {"enum": ["celsius", "fahrenheit", null]},
             "hours": {"type": "array", "maxItems": 2, "items": {"enum": [6, 12, 18]}}}})")},
      {"get", Json::parse(R"({"type": "object", "additionalProperties": false,
           "required": ["arguments"], "properties": {
             "arguments": {"anyOf": [{"type": "boolean"}, {"$ref": "#/$defs/pair"}]}},
           "$defs": {"pair": {"type": "object", "additionalProperties": false,
             "required": ["a"], "properties": {"a": {"enum": ["x\"", "<y>"]},
                                               "b": {"enum": [true, "no"]}}}}})")}};
  return kSchemas;
}

// Biases that make calls frequent, reasoning short and blocks end, and nothing else: `<` and `</`,
// the mark, the end of reasoning.
const Json kBias = {
    {"60", 5}, {"256", 8}, {std::to_string(kDsml), 100}, {std::to_string(kEndOfThink), 8}};

Json sampled(int i, const Json& more) {
  Json body = {{"model", "tiny"}, {"temperature", 2}, {"seed", i}, {"logit_bias", kBias}};
  body.update(more);
  return body;
}

Json user_message(int i) {
  return Json::array({{{"role", "user"}, {"content", "Number " + std::to_string(i)}}});
}

bool is_forced(int i) {
  return i % 6 != 0;
}

std::vector<Json> chat_requests() {
  Json tools = Json::array();
  for (const auto& [name, schema] : schemas()) {
    tools.push_back({{"type", "function"},
                     {"function", {{"name", name}, {"strict", true}, {"parameters", schema}}}});
  }
  const Json named = {{"type", "function"}, {"function", {{"name", "get_weather"}}}};
  std::vector<Json> bodies;
  for (int i = 0; i < kNumRequests; ++i) {
    bodies.push_back(sampled(i, {{"messages", user_message(i)},
                                 {"tools", tools},
                                 {"reasoning_effort", i % 2 == 0 ? "none" : "high"},
                                 {"tool_choice", !is_forced(i) ? Json("auto")
                                                 : i % 3 == 0  ? Json("required")
                                                               : named},
                                 {"max_tokens", 2000}}));
  }
  return bodies;
}

std::vector<Json> responses_requests() {
  Json tools = Json::array();
  for (const auto& [name, schema] : schemas()) {
    tools.push_back(
        {{"type", "function"}, {"name", name}, {"strict", true}, {"parameters", schema}});
  }
  std::vector<Json> bodies;
  for (int i = 0; i < kNumRequests; ++i) {
    bodies.push_back(sampled(i, {{"input", user_message(i)},
                                 {"tools", tools},
                                 {"reasoning", {{"effort", i % 2 == 0 ? "none" : "high"}}},
                                 {"tool_choice", is_forced(i) ? "required" : "auto"},
                                 {"max_output_tokens", 2000}}));
  }
  return bodies;
}

std::vector<Json> messages_requests() {
  Json tools = Json::array();
  for (const auto& [name, schema] : schemas()) {
    tools.push_back({{"name", name}, {"strict", true}, {"input_schema", schema}});
  }
  std::vector<Json> bodies;
  for (int i = 0; i < kNumRequests; ++i) {
    bodies.push_back(sampled(i, {{"messages", user_message(i)},
                                 {"tools", tools},
                                 {"thinking", {{"type", i % 2 == 0 ? "disabled" : "adaptive"}}},
                                 {"tool_choice", {{"type", is_forced(i) ? "any" : "auto"}}},
                                 {"max_tokens", 2000}}));
  }
  return bodies;
}

std::vector<Call> chat_calls(const Json& answer) {
  std::vector<Call> calls;
  const Json& choice = answer["choices"][0];
  EXPECT_FALSE(choice.contains("constraint_released")) << answer;
  for (const Json& call : choice["message"].value("tool_calls", Json::array())) {
    calls.push_back({call["function"]["name"], call["function"]["arguments"]});
  }
  EXPECT_EQ(choice["finish_reason"] == "tool_calls", !calls.empty()) << answer;
  return calls;
}

std::vector<Call> responses_calls(const Json& answer) {
  std::vector<Call> calls;
  for (const Json& item : answer["output"]) {
    if (item["type"] == "function_call") {
      calls.push_back({item["name"], item["arguments"]});
    }
  }
  EXPECT_EQ(answer["status"], "completed") << answer;
  return calls;
}

std::vector<Call> messages_calls(const Json& answer) {
  std::vector<Call> calls;
  for (const Json& block : answer["content"]) {
    if (block["type"] == "tool_use") {
      calls.push_back({block["name"], block["input"].dump()});
    }
  }
  EXPECT_EQ(answer["stop_reason"] == "tool_use", !calls.empty()) << answer;
  return calls;
}

void expect_valid(const std::vector<Call>& calls) {
  for (const Call& call : calls) {
    ASSERT_TRUE(schemas().contains(call.name)) << call.name;
    ASSERT_TRUE(Json::accept(call.arguments)) << call.arguments;
    const Json& schema = schemas().at(call.name);
    EXPECT_TRUE(testing::is_valid(schema, Json::parse(call.arguments), schema))
        << call.name << " " << call.arguments;
  }
}

TEST(StrictTools, GuessesChangeNoText) {
  std::vector<Json> bodies = chat_requests();
  bodies.resize(18);
  StrictServer plain(engine::Drafts::Off);
  StrictServer guessing(engine::Drafts::Always);
  const std::vector<Json> expected = plain.ask("/v1/chat/completions", bodies);
  const std::vector<Json> found = guessing.ask("/v1/chat/completions", bodies);
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    EXPECT_EQ(chat_calls(found[i]), chat_calls(expected[i]));
    for (const char* const field : {"content", "reasoning_content"}) {
      EXPECT_EQ(found[i]["choices"][0]["message"].value(field, Json()),
                expected[i]["choices"][0]["message"].value(field, Json()));
    }
    EXPECT_EQ(found[i]["usage"]["completion_tokens"], expected[i]["usage"]["completion_tokens"]);
  }
  EXPECT_GT(guessing.stats().accepted_drafts, 0U);
  EXPECT_LT(guessing.stats().accepted_drafts, guessing.stats().drafted_tokens);
}

TEST(StrictTools, CustomToolsAreCalledWithTextsOfTheirGrammar) {
  const auto custom = [](const char* name, const char* syntax, const char* definition) {
    return Json{{"type", "custom"},
                {"name", name},
                {"format", {{"type", "grammar"}, {"syntax", syntax}, {"definition", definition}}}};
  };
  const Json tools = {custom("add", "lark",
                             "start: sum\nsum: sum \"+\" N | N\nN: \"0\"..\"9\" LETTER\n"
                             "%import common.LETTER"),
                      custom("tag", "regex", "<[<>\"]{1,4}>|none")};
  const std::map<std::string, std::regex> patterns = {
      {"add", std::regex("[0-9][A-Za-z](\\+[0-9][A-Za-z])*")},
      {"tag", std::regex("<[<>\"]{1,4}>|none")}};
  std::vector<Json> bodies;
  for (int i = 0; i < kNumRequests; ++i) {
    bodies.push_back(sampled(i, {{"input", user_message(i)},
                                 {"tools", tools},
                                 {"reasoning", {{"effort", "none"}}},
                                 {"tool_choice", "required"},
                                 {"max_output_tokens", 2000}}));
  }
  StrictServer server(engine::Drafts::Off);
  std::map<std::string, int> counts;
  for (const Json& answer : server.ask("/v1/responses", bodies)) {
    ASSERT_FALSE(answer["output"].empty()) << answer;
    for (const Json& item : answer["output"]) {
      EXPECT_EQ(item["type"], "custom_tool_call") << item;
      const std::string name = item["name"];
      EXPECT_TRUE(std::regex_match(item["input"].get<std::string>(), patterns.at(name))) << item;
      ++counts[name];
    }
  }
  EXPECT_GT(counts["add"], 0);
  EXPECT_GT(counts["tag"], 0);
}

struct Api {
  const char* name;
  const char* path;
  std::vector<Json> (*requests)();
  std::vector<Call> (*calls)(const Json& answer);
};

class StrictToolsOf : public ::testing::TestWithParam<Api> {};

TEST_P(StrictToolsOf, EveryCallIsValidHoweverTheModelRaves) {
  StrictServer server(engine::Drafts::Off);
  const std::vector<Json> answers = server.ask(GetParam().path, GetParam().requests());
  int num_calls = 0;
  int num_called_freely = 0;
  for (int i = 0; i < kNumRequests; ++i) {
    const std::vector<Call> calls = GetParam().calls(answers[static_cast<std::size_t>(i)]);
    expect_valid(calls);
    EXPECT_TRUE(!calls.empty() || !is_forced(i)) << answers[static_cast<std::size_t>(i)];
    num_calls += static_cast<int>(calls.size());
    num_called_freely += !calls.empty() && !is_forced(i) ? 1 : 0;
  }
  EXPECT_GE(num_calls, kNumRequests * 5 / 6);
  EXPECT_GT(num_called_freely, 0);
}

TEST_P(StrictToolsOf, ASchemaThatCannotBeHeldIsA400ThatNamesIt) {
  StrictServer server(engine::Drafts::Off);
  Json body = GetParam().requests().front();
  Json& tool =
      body["tools"][0].contains("function") ? body["tools"][0]["function"] : body["tools"][0];
  const char* const field = tool.contains("parameters") ? "parameters" : "input_schema";
  tool[field]["properties"]["arguments"] = {{"not", Json::object()}};
  const auto exchange = server.post(GetParam().path, body);
  ASSERT_TRUE(exchange->wait());
  EXPECT_EQ(exchange->response()->status, 400);
  const Json error = Json::parse(exchange->response()->body)["error"];
  const std::string message = error["message"];
  EXPECT_NE(message.find(std::string(field) + ": schema: #/properties/arguments: keyword \"not\""),
            std::string::npos)
      << message;
  EXPECT_TRUE(message.starts_with("tools[0].")) << message;
}

INSTANTIATE_TEST_SUITE_P(
    Apis,
    StrictToolsOf,
    ::testing::Values(Api{"Chat", "/v1/chat/completions", chat_requests, chat_calls},
                      Api{"Responses", "/v1/responses", responses_requests, responses_calls},
                      Api{"Messages", "/v1/messages", messages_requests, messages_calls}),
    [](const auto& api) { return std::string(api.param.name); });

}  // namespace
}  // namespace fathom
