#include "fathom/serve/openai/completion_reply.h"

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "fathom/serve/openai/routes.h"

#include "tests/support/test_api.h"

namespace fathom::openai {
namespace {

using fathom::testing::ExchangePtr;
using fathom::testing::ReplayOptions;
using fathom::testing::replying;
using fathom::testing::TestApi;
using fathom::testing::without_chance;
using Json = nlohmann::json;

TestApi api(ReplayOptions options) {
  return TestApi(add_routes, std::move(options));
}

Json answer(const TestApi& model, const std::string& request) {
  const ExchangePtr exchange = model.post("/v1/completions", request);
  EXPECT_EQ(exchange->misuse(), "");
  EXPECT_TRUE(exchange->response());
  const http::Response response = exchange->response().value_or(http::Response{});
  EXPECT_EQ(response.status, 200) << response.body;
  return Json::parse(response.body);
}

TEST(CompletionAnswer, IsOneObject) {
  const ExchangePtr exchange =
      api(replying(" there")).post("/v1/completions", R"({"model":"m","prompt":"Hi"})");
  EXPECT_EQ(without_chance(exchange->response().value().body),
            R"({"id":"cmpl-#0","object":"text_completion","created":0,"model":"m",)"
            R"("system_fingerprint":"fp_replay","choices":[{"index":0,"text":" there",)"
            R"("logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":2,)"
            R"("completion_tokens":2,"total_tokens":4,"prompt_tokens_details":{"cached_tokens":0},)"
            R"("completion_tokens_details":{"reasoning_tokens":0},"prompt_cache_hit_tokens":0,)"
            R"("prompt_cache_miss_tokens":2}})");
}

// What lm-eval counts on: every token of the prompt and the one generated, first null.
TEST(CompletionAnswer, EchoScoresEveryTokenOfAPromptOfIds) {
  const Json body = answer(api(replying(" green")),
                           R"({"prompt":[[671,10103,344],[671]],"temperature":0,"max_tokens":1,
                               "logprobs":1,"seed":1234,"echo":true})");
  ASSERT_EQ(body["choices"].size(), 2U);
  const Json& logprobs = body["choices"][0]["logprobs"];
  for (const char* const list : {"tokens", "token_logprobs", "top_logprobs", "text_offset"}) {
    EXPECT_EQ(logprobs[list].size(), 4U) << list;
  }
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
  EXPECT_EQ(logprobs["token_logprobs"][1], -1.5);
  EXPECT_EQ(logprobs["token_logprobs"][3], -0.25);
  std::string text;
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(logprobs["text_offset"][i], text.size());
    text += logprobs["tokens"][i];
    if (i > 0) {
      EXPECT_TRUE(logprobs["top_logprobs"][i].contains(logprobs["tokens"][i]));
    }
  }
  EXPECT_EQ(text, body["choices"][0]["text"].get<std::string>());
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(body["choices"][1]["index"], 1);
  EXPECT_EQ(body["choices"][1]["logprobs"]["tokens"].size(), 2U);
  EXPECT_EQ(body["usage"]["prompt_tokens"], 4);
  EXPECT_EQ(body["usage"]["completion_tokens"], 2);
}

TEST(CompletionAnswer, NoTokensScoreThePromptAlone) {
  const Json body = answer(api(replying("x")),
                           R"({"prompt":[671,10103,344],"max_tokens":0,"logprobs":1,"echo":true})");
  EXPECT_EQ(body["choices"][0]["logprobs"]["tokens"].size(), 3U);
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(body["usage"]["completion_tokens"], 0);
}

TEST(CompletionAnswer, ABosInFrontOfATextIsNoneOfItsTokens) {
  const Json body = answer(api(replying("!")),
                           R"({"prompt":"Hello you","max_tokens":1,"logprobs":0,"echo":true})");
  const Json& choice = body["choices"][0];
  EXPECT_EQ(choice["text"], "Hello you!");
  EXPECT_EQ(choice["logprobs"]["tokens"], Json::parse(R"(["Hello"," you","!"])"));
  EXPECT_EQ(choice["logprobs"]["text_offset"], Json::parse("[0,5,9]"));
  EXPECT_TRUE(choice["logprobs"]["token_logprobs"][0].is_null());
  EXPECT_EQ(choice["logprobs"]["token_logprobs"][1], -1.5);
  // A text that begins with it already shows it.
  const Json spelled = answer(
      api(replying("!")),
      R"({"prompt":"<｜begin▁of▁sentence｜>Hello","max_tokens":1,"logprobs":0,"echo":true})");
  EXPECT_EQ(spelled["choices"][0]["logprobs"]["tokens"].size(), 3U);
}

TEST(CompletionAnswer, ScoresOfAPromptStayWithTheirTokensHoweverTheyCome) {
  const auto texts = std::make_shared<const TokenTexts>(fathom::testing::v4_text_model().tokenizer);
  for (const Index num_hidden : {0, 1}) {
    const auto exchange = std::make_shared<test::FakeExchange>(http::Request{});
    const auto writer = make_completion_answer(
        exchange, texts,
        {.head = {},
         .has_logprobs = true,
         .echoes = {{.text = "x", .ids = {5, 6, 7}, .num_hidden = num_hidden}}});
    writer->begin();
    const auto scores = [](Index first, std::vector<double> values) {
      engine::PromptScores part{.first = first, .tokens = {}};
      for (const double value : values) {
        part.tokens.push_back({.logprob = value, .top = {}});
      }
      return part;
    };
    writer->on_event(0, scores(1, {-1, -2}));
    writer->on_event(0, scores(3, {-3}));
    writer->on_event(0, engine::RequestEnd{});
    const Json body = Json::parse(exchange->response().value().body);
    EXPECT_EQ(body["choices"][0]["logprobs"]["token_logprobs"],
              num_hidden == 0 ? Json::parse("[null,-1,-2]") : Json::parse("[null,-2,-3]"));
  }
}

TEST(CompletionAnswer, TheEndTokenIsOneOfTheTokens) {
  const Json body =
      answer(api(replying("")), R"({"prompt":[671],"max_tokens":1,"logprobs":1,"echo":true})");
  EXPECT_EQ(body["choices"][0]["logprobs"]["tokens"][1], "<｜end▁of▁sentence｜>");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
}

TEST(CompletionAnswer, ChoicesAreInTheOrderOfPromptsAndOfEach) {
  const TestApi model = api({.reply = [](const engine::PreparedRequest& request, Index choice) {
    return std::to_string(request.prompt_ids.back()) + "/" + std::to_string(choice);
  }});
  const Json body = answer(model, R"({"prompt":[[5],[6]],"n":2,"max_tokens":9})");
  const std::vector<std::string> texts = {"5/0", "5/1", "6/0", "6/1"};
  ASSERT_EQ(body["choices"].size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(body["choices"][i]["index"], i);
    EXPECT_EQ(body["choices"][i]["text"], texts[i]);
  }
}

TEST(CompletionAnswer, TheBestByMeanLogprobAreAnswered) {
  // The writer on its own: the scripted engine gives every token the same score.
  const auto exchange = std::make_shared<test::FakeExchange>(http::Request{});
  const auto texts = std::make_shared<const TokenTexts>(fathom::testing::v4_text_model().tokenizer);
  const auto writer = make_completion_answer(
      exchange, texts,
      {.head = {}, .num_choices = 2, .num_computed = 3, .echoes = std::vector<PromptEcho>(1)});
  writer->begin();
  const std::vector<std::vector<double>> scores = {{-3}, {-1, -1.5}, {-2, -2, -2}};
  for (Index i = 0; i < 3; ++i) {
    for (const double score : scores[to_size(i)]) {
      engine::ReplyDelta delta;
      delta.choice_idx = i;
      delta.token.emplace();
      delta.token->logprobs.logprob = score;
      writer->on_event(0, std::move(delta));
    }
    engine::ChoiceEnd end;
    end.choice_idx = i;
    end.reply.content = std::to_string(i);
    writer->on_event(0, std::move(end));
  }
  writer->on_event(0, engine::RequestEnd{});
  const Json choices = Json::parse(exchange->response().value().body)["choices"];
  ASSERT_EQ(choices.size(), 2U);
  EXPECT_EQ(choices[0]["text"], "1");
  EXPECT_EQ(choices[1]["text"], "2");
}

TEST(CompletionAnswer, ASuffixGoesAroundTheHole) {
  const TestApi model = api(replying("middle"));
  const Json body = answer(model, R"({"prompt":"begin ","suffix":" end","echo":true})");
  EXPECT_EQ(body["choices"][0]["text"], "begin middle");
  EXPECT_EQ(model.engine().prompts().at(0),
            "<｜begin▁of▁sentence｜><｜fim▁begin｜>begin <｜fim▁hole｜> end<｜fim▁end｜>");
}

TEST(CompletionAnswer, OneFailureIsTheAnswer) {
  ReplayOptions options = replying("text");
  options.failure = Error(ErrorCode::Internal, "broken");
  const ExchangePtr exchange = api(options).post("/v1/completions", R"({"prompt":["a","b"]})");
  EXPECT_EQ(exchange->response().value().status, 500);
  EXPECT_EQ(exchange->misuse(), "");
  const ExchangePtr stream =
      api(options).post("/v1/completions", R"({"prompt":["a","b"],"stream":true})");
  EXPECT_EQ(stream->misuse(), "");
  EXPECT_NE(stream->events().find("\"message\":\"broken\""), std::string::npos);
}

TEST(CompletionStream, SaysTheSameAsTheWholeAnswer) {
  const TestApi model = api({.reply = [](const engine::PreparedRequest& request, Index choice) {
    return "é漢字😀" + std::to_string(request.prompt_ids.back()) + "/" + std::to_string(choice);
  }});
  const std::string request =
      R"("prompt":[[5,7],[6,8]],"n":2,"max_tokens":40,"logprobs":2,"echo":true})";
  const Json whole = answer(model, "{" + request)["choices"];
  const ExchangePtr exchange = model.post(
      "/v1/completions", R"({"stream":true,"stream_options":{"include_usage":true},)" + request);
  EXPECT_EQ(exchange->misuse(), "");
  std::vector<Json> found(4);
  const std::vector<test::ServerEvent> events = test::read_events(exchange->events());
  ASSERT_GE(events.size(), 2U);
  EXPECT_EQ(events.back().data, "[DONE]");
  for (std::size_t i = 0; i + 2 < events.size(); ++i) {
    const Json chunk = Json::parse(events[i].data);
    EXPECT_TRUE(chunk["usage"].is_null());
    const Json& choice = chunk["choices"].at(0);
    Json& sum = found.at(choice["index"]);
    if (sum.is_null()) {
      sum = choice;
      continue;
    }
    sum["text"] = sum["text"].get<std::string>() + choice["text"].get<std::string>();
    EXPECT_TRUE(sum["finish_reason"].is_null()) << "a second end";
    sum["finish_reason"] = choice["finish_reason"];
    if (choice["logprobs"].is_object()) {
      for (const auto& [name, list] : choice["logprobs"].items()) {
        sum["logprobs"][name].insert(sum["logprobs"][name].end(), list.begin(), list.end());
      }
    }
  }
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(found[i], whole[i]);
  }
  const Json last = Json::parse(events[events.size() - 2].data);
  EXPECT_TRUE(last["choices"].empty());
  EXPECT_EQ(last["usage"]["prompt_tokens"], 4);
}

TEST(CompletionStream, AnEchoComesAtOnceWithoutLogprobs) {
  const ExchangePtr exchange =
      api(replying(" b")).post("/v1/completions", R"({"prompt":"a","stream":true,"echo":true})");
  const std::vector<test::ServerEvent> events = test::read_events(exchange->events());
  EXPECT_EQ(Json::parse(events.at(0).data)["choices"][0]["text"], "a");
  EXPECT_EQ(Json::parse(events.at(1).data)["choices"][0]["text"], " b");
  EXPECT_EQ(Json::parse(events.at(2).data)["choices"][0]["finish_reason"], "stop");
}

TEST(CompletionStream, APromptThatIsOnlyScoredEndsToo) {
  const ExchangePtr exchange =
      api(replying("x"))
          .post("/v1/completions",
                R"({"prompt":[5,6],"max_tokens":0,"stream":true,"echo":true,
                                  "logprobs":1})");
  const std::vector<test::ServerEvent> events = test::read_events(exchange->events());
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(Json::parse(events[0].data)["choices"][0]["logprobs"]["tokens"].size(), 2U);
  EXPECT_EQ(Json::parse(events[1].data)["choices"][0]["finish_reason"], "length");
}

}  // namespace
}  // namespace fathom::openai
