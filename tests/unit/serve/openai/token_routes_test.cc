#include "fathom/serve/openai/token_routes.h"

#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "fathom/serve/openai/routes.h"

#include "tests/support/test_api.h"

namespace fathom::openai {
namespace {

using fathom::testing::replying;
using fathom::testing::TestApi;
using Json = nlohmann::json;

const TestApi& api() {
  static const TestApi kApi(add_routes, replying("x"));
  return kApi;
}

http::Response post(const std::string& path, const Json& body) {
  return api().post(path, body.dump())->response().value();
}

Json golden(const std::string& name) {
  return Json::parse(std::ifstream(std::string(FATHOM_SOURCE_DIR "/tests/data/golden/") + name));
}

TEST(Tokenize, FirstTextThenIdsWithOrWithoutBos) {
  EXPECT_EQ(post("/tokenize", {{"prompt", "Hello!"}, {"add_special_tokens", false}}).body,
            R"({"tokens":[19923,3],"count":2,"max_model_len":1048576,"token_strs":null})");
  const Json answer =
      Json::parse(post("/v1/tokenize", {{"content", "Hello!"}, {"return_token_strs", true}}).body);
  EXPECT_EQ(answer["tokens"], Json::parse("[0,19923,3]"));
  EXPECT_EQ(answer["token_strs"][1], "Hello");
}

TEST(Tokenize, AConversationIsItsPrompt) {
  const Json messages = Json::parse(R"([{"role":"user","content":""}])");
  const Json body = {{"messages", messages}, {"thinking", {{"type", "disabled"}}}};
  EXPECT_EQ(Json::parse(post("/tokenize", body).body)["tokens"],
            Json::parse("[0,128803,128804,128822]"));
}

TEST(Tokenize, ControlTokensMayBePlainText) {
  const auto count = [](const Json& body) {
    return Json::parse(post("/tokenize", body).body)["count"].get<int>();
  };
  Json body = {{"prompt", "<｜User｜>"}, {"add_special_tokens", false}};
  EXPECT_EQ(count(body), 1);
  body["parse_special"] = false;
  EXPECT_EQ(count(body), 5);
}

// The golden texts, both ways.
TEST(Tokenize, GoldenTextsComeBack) {
  const Json cases = golden("tokenizer/deepseek-v4-cases.json");
  Index num_checked = 0;
  for (const bool is_special : {true, false}) {
    for (const Json& entry : cases[is_special ? "special" : "plain"]) {
      const std::string text = entry["text"];
      const Json body = {
          {"prompt", text}, {"add_special_tokens", false}, {"parse_special", is_special}};
      const Json ids = Json::parse(post("/tokenize", body).body)["tokens"];
      EXPECT_EQ(ids, entry["ids"]) << text;
      const Json back = Json::parse(post("/detokenize", {{"tokens", ids}}).body);
      EXPECT_EQ(back["prompt"], text);
      EXPECT_EQ(back["content"], text);
      ++num_checked;
    }
  }
  EXPECT_GT(num_checked, 20);
}

TEST(Detokenize, WhatIsNoTokenIsNamed) {
  const auto message = [](const Json& body) {
    const http::Response response = post("/detokenize", body);
    EXPECT_EQ(response.status, 400);
    return Json::parse(response.body)["error"]["param"].get<std::string>();
  };
  EXPECT_EQ(message({{"tokens", {5, 129280}}}), "tokens[1]");
  EXPECT_EQ(message({{"tokens", {5, -1}}}), "tokens[1]");
  EXPECT_EQ(message({{"tokens", "x"}}), "tokens");
  EXPECT_EQ(message(Json::object()), "tokens");
}

TEST(TokenizerInfo, NamesTheSpecialTokens) {
  for (const char* const path : {"/tokenizer_info", "/v1/tokenizer_info"}) {
    const Json info = Json::parse(api().get(path)->response().value().body);
    EXPECT_EQ(info["bos_token"], "<｜begin▁of▁sentence｜>");
    EXPECT_EQ(info["eos_token"], "<｜end▁of▁sentence｜>");
    EXPECT_TRUE(info.contains("pad_token") && info["chat_template"].is_null());
  }
}

TEST(Render, ShowsThePromptOfARequest) {
  const Json messages = Json::parse(R"([{"role":"user","content":"Hi"}])");
  EXPECT_EQ(post("/v1/render", {{"messages", messages}, {"reasoning_effort", "high"}}).body,
            R"({"prompt":"<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜><think>",)"
            R"("tokens":[0,128803,23166,128804,128821],"count":5})");
}

}  // namespace
}  // namespace fathom::openai
