#include "fathom/serve/openai/chat_reply.h"

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

constexpr std::string_view kTool =
    R"("tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object",)"
    R"("properties":{"city":{"type":"string"},"days":{"type":"integer"}}}}}])";

// A reply that thinks, says something and calls a tool twice.
constexpr std::string_view kCalls =
    "hm</think>Let me see.\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get_weather\">\n"
    "<｜DSML｜parameter name=\"city\" string=\"true\">Rome</｜DSML｜parameter>\n"
    "<｜DSML｜parameter name=\"days\" string=\"false\">2</｜DSML｜parameter>\n"
    "</｜DSML｜invoke>\n<｜DSML｜invoke name=\"get_weather\">\n"
    "<｜DSML｜parameter name=\"city\" string=\"true\">Oslo</｜DSML｜parameter>\n"
    "</｜DSML｜invoke>\n</｜DSML｜tool_calls>";

TestApi api(ReplayOptions options) {
  return TestApi(add_routes, std::move(options));
}

std::string body_of(const ExchangePtr& exchange) {
  EXPECT_EQ(exchange->misuse(), "");
  EXPECT_TRUE(exchange->response()) << "no answer";
  return exchange->response().value_or(http::Response{}).body;
}

std::vector<Json> chunks_of(const ExchangePtr& exchange) {
  EXPECT_EQ(exchange->misuse(), "");
  std::vector<Json> chunks;
  for (const test::ServerEvent& event : test::read_events(exchange->events())) {
    EXPECT_EQ(event.name, "");
    chunks.push_back(event.data == "[DONE]" ? Json("[DONE]") : Json::parse(event.data));
  }
  return chunks;
}

TEST(ChatAnswer, IsOneObjectWithUsageOfTheCacheAndOfReasoning) {
  ReplayOptions options = replying("because</think>Hello");
  options.num_cached = 3;
  const ExchangePtr exchange = api(options).post(
      "/v1/chat/completions", R"({"model":"gpt-x","messages":[{"role":"user","content":"Hi"}]})");
  EXPECT_EQ(
      without_chance(body_of(exchange)),
      R"({"id":"chatcmpl-#0","object":"chat.completion","created":0,"model":"gpt-x",)"
      R"("system_fingerprint":"fp_replay","choices":[{"index":0,"message":{"role":"assistant",)"
      R"("content":"Hello","refusal":null,"reasoning_content":"because"},"logprobs":null,)"
      R"("finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":4,)"
      R"("total_tokens":9,"prompt_tokens_details":{"cached_tokens":3},)"
      R"("completion_tokens_details":{"reasoning_tokens":2},"prompt_cache_hit_tokens":3,)"
      R"("prompt_cache_miss_tokens":2}})");
}

TEST(ChatAnswer, CallsOfToolsHaveIdsOfTheirOwn) {
  const ExchangePtr exchange =
      api(replying(std::string(kCalls)))
          .post("/v1/chat/completions",
                R"({"messages":[{"role":"user","content":"Hi"}],)" + std::string(kTool) + "}");
  const Json choice = Json::parse(without_chance(body_of(exchange)))["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_EQ(choice["message"]["content"], "Let me see.");
  EXPECT_EQ(choice["message"]["tool_calls"], Json::parse(R"([
      {"id":"call_#1","type":"function",
       "function":{"name":"get_weather","arguments":"{\"city\": \"Rome\", \"days\": 2}"}},
      {"id":"call_#2","type":"function",
       "function":{"name":"get_weather","arguments":"{\"city\": \"Oslo\"}"}}])"));
}

TEST(ChatAnswer, ContentIsNullWhereThereAreOnlyCalls) {
  const ExchangePtr exchange =
      api(replying(
              "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get_weather\">\n\n</｜DSML｜invoke>"))
          .post("/v1/chat/completions",
                R"({"thinking":{"type":"disabled"},"messages":[{"role":"user","content":"Hi"}],)" +
                    std::string(kTool) + "}");
  const Json message = Json::parse(body_of(exchange))["choices"][0]["message"];
  EXPECT_TRUE(message["content"].is_null());
  EXPECT_FALSE(message.contains("reasoning_content"));
  EXPECT_EQ(message["tool_calls"][0]["function"]["arguments"], "{}");
}

TEST(ChatAnswer, ALimitOfTokensIsLength) {
  const ExchangePtr exchange = api(replying("one two three four five six seven eight"))
                                   .post("/v1/chat/completions",
                                         R"({"reasoning_effort":"none","max_tokens":5,
                                             "messages":[{"role":"user","content":"Hi"}]})");
  const Json body = Json::parse(body_of(exchange));
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(body["usage"]["completion_tokens"], 5);
}

TEST(ChatAnswer, EveryChoiceIsThere) {
  const TestApi two = api({.reply = [](const engine::PreparedRequest&, Index choice_idx) {
    return "</think>choice " + std::to_string(choice_idx);
  }});
  const ExchangePtr exchange =
      two.post("/v1/chat/completions", R"({"n":2,"messages":[{"role":"user","content":"Hi"}]})");
  const Json choices = Json::parse(body_of(exchange))["choices"];
  ASSERT_EQ(choices.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(choices[i]["index"], i);
    EXPECT_EQ(choices[i]["message"]["content"], "choice " + std::to_string(i));
  }
}

// The next request as clients write it: no reasoning, arguments with other spaces.
std::string answering(const Json& calls) {
  using Ordered = nlohmann::ordered_json;  // a schema is part of the prompt as it is written
  Ordered message = {{"role", "assistant"}, {"content", "Let me see."}, {"tool_calls", calls}};
  Ordered request =
      Ordered::parse(R"({"messages":[{"role":"user","content":"Hi"}],)" + std::string(kTool) + "}");
  for (Ordered& call : message["tool_calls"]) {
    call["function"]["arguments"] =
        Json::parse(call["function"]["arguments"].get<std::string>()).dump();
  }
  request["messages"].emplace_back(message);
  for (const Json& call : calls) {
    request["messages"].emplace_back(
        Ordered{{"role", "tool"}, {"tool_call_id", call["id"]}, {"content", "sun"}});
  }
  return request.dump();
}

TEST(ChatReply, ATurnWithCallsComesBackAsTheModelWroteIt) {
  const std::string request =
      R"({"messages":[{"role":"user","content":"Hi"}],)" + std::string(kTool) + "}";
  for (const bool is_streamed : {false, true}) {
    const TestApi server = api(replying(std::string(kCalls)));
    Json calls = Json::array();
    if (is_streamed) {
      for (const Json& chunk : chunks_of(
               server.post("/v1/chat/completions", R"({"stream":true,)" + request.substr(1)))) {
        const Json pieces = chunk.is_object()
                                ? chunk["choices"][0]["delta"].value("tool_calls", Json::array())
                                : Json::array();
        for (const Json& piece : pieces) {
          if (piece.contains("id")) {
            calls.push_back(piece);
          } else {
            auto& whole = calls.at(piece["index"].get<std::size_t>())["function"]["arguments"]
                              .get_ref<std::string&>();
            whole += piece["function"]["arguments"].get<std::string>();
          }
        }
      }
    } else {
      calls = Json::parse(body_of(
          server.post("/v1/chat/completions", request)))["choices"][0]["message"]["tool_calls"];
    }
    server.post("/v1/chat/completions", answering(calls));
    const std::vector<std::string> prompts = server.engine().prompts();
    ASSERT_EQ(prompts.size(), 2U);
    EXPECT_TRUE(prompts[1].starts_with(prompts[0] + std::string(kCalls))) << prompts[1];
  }
}

TEST(ChatStream, EventsComeInTheOrderThatClientsKnow) {
  const ExchangePtr exchange =
      api(replying("hm</think>Yes")).post("/v1/chat/completions", R"({"model":"m","stream":true,
           "stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hi"}]})");
  const std::string head =
      R"(data: {"id":"chatcmpl-#0","object":"chat.completion.chunk","created":0,"model":"m",)"
      R"("system_fingerprint":"fp_replay","choices":[)";
  const auto chunk = [&](const std::string& delta, const std::string& finish) {
    return head + R"({"index":0,"delta":)" + delta + R"(,"logprobs":null,"finish_reason":)" +
           finish + "}],\"usage\":null}\n\n";
  };
  EXPECT_EQ(without_chance(exchange->events()),
            chunk(R"({"role":"assistant","content":""})", "null") +
                chunk(R"({"reasoning_content":"hm"})", "null") +
                chunk(R"({"content":"Yes"})", "null") + chunk("{}", R"("stop")") + head +
                R"(],"usage":{"prompt_tokens":5,"completion_tokens":4,"total_tokens":9,)"
                R"("prompt_tokens_details":{"cached_tokens":0},)"
                R"("completion_tokens_details":{"reasoning_tokens":2},)"
                R"("prompt_cache_hit_tokens":0,"prompt_cache_miss_tokens":5}})"
                "\n\ndata: [DONE]\n\n");
  EXPECT_EQ(exchange->misuse(), "");
  EXPECT_EQ(exchange->keep_alive(), ": keep-alive\n\n");
}

TEST(ChatStream, UsageIsOnlySentWhereItIsWanted) {
  const ExchangePtr exchange =
      api(replying("</think>Yes")).post("/v1/chat/completions", R"({"stream":true,
          "messages":[{"role":"user","content":"Hi"}]})");
  const std::vector<Json> chunks = chunks_of(exchange);
  ASSERT_EQ(chunks.back(), "[DONE]");
  for (std::size_t i = 0; i + 1 < chunks.size(); ++i) {
    EXPECT_FALSE(chunks[i].contains("usage"));
    EXPECT_EQ(chunks[i]["choices"].size(), 1U);
  }
}

TEST(ChatStream, TheFirstPieceOfACallHasIdAndNameAndTheRestItsArguments) {
  const std::string request =
      R"({"stream":true,"messages":[{"role":"user","content":"Hi"}],)" + std::string(kTool) + "}";
  const std::vector<Json> chunks =
      chunks_of(api(replying(std::string(kCalls))).post("/v1/chat/completions", request));
  std::vector<Json> calls(2);
  std::string content;
  for (const Json& chunk : chunks) {
    if (!chunk.is_object()) {
      continue;
    }
    const Json& delta = chunk["choices"][0]["delta"];
    content += delta.value("content", "");
    for (const Json& call : delta.value("tool_calls", Json::array())) {
      Json& whole = calls.at(call["index"]);
      if (whole.is_null()) {
        whole = call;
        EXPECT_TRUE(call["id"].get<std::string>().starts_with("call_"));
        EXPECT_EQ(call["type"], "function");
        EXPECT_EQ(call["function"]["name"], "get_weather");
        EXPECT_EQ(call["function"]["arguments"], "");
      } else {
        EXPECT_FALSE(call.contains("id"));
        EXPECT_FALSE(call["function"].contains("name"));
        const std::string more = call["function"]["arguments"];
        EXPECT_FALSE(more.empty());
        auto& arguments = whole["function"]["arguments"].get_ref<std::string&>();
        arguments += more;
      }
    }
  }
  EXPECT_EQ(content, "Let me see.");
  EXPECT_EQ(calls[0]["function"]["arguments"], R"({"city": "Rome", "days": 2})");
  EXPECT_EQ(calls[1]["function"]["arguments"], R"({"city": "Oslo"})");
  EXPECT_NE(calls[0]["id"], calls[1]["id"]);
  EXPECT_EQ(chunks[chunks.size() - 2]["choices"][0]["finish_reason"], "tool_calls");
}

TEST(ChatStream, SaysTheSameAsTheWholeAnswerForEveryChoice) {
  const TestApi same = api({.reply = [](const engine::PreparedRequest&, Index choice_idx) {
    return "thinking</think>😀 漢字 für " + std::to_string(choice_idx);
  }});
  const std::string request = R"("n":3,"messages":[{"role":"user","content":"Hi"}]})";
  const Json whole =
      Json::parse(body_of(same.post("/v1/chat/completions", "{" + request)))["choices"];
  std::vector<std::string> content(3);
  std::vector<std::string> reasoning(3);
  std::vector<int> num_ends(3);
  const ExchangePtr exchange = same.post("/v1/chat/completions", R"({"stream":true,)" + request);
  EXPECT_EQ(exchange->events().find("\xef\xbf\xbd"), std::string::npos);
  for (const Json& chunk : chunks_of(exchange)) {
    if (chunk.is_object()) {
      const Json& choice = chunk["choices"][0];
      const std::size_t index = choice["index"];
      content.at(index) += choice["delta"].value("content", "");
      reasoning.at(index) += choice["delta"].value("reasoning_content", "");
      num_ends.at(index) += choice["finish_reason"].is_null() ? 0 : 1;
    }
  }
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(content[i], whole[i]["message"]["content"].get<std::string>());
    EXPECT_EQ(content[i], "😀 漢字 für " + std::to_string(i));
    EXPECT_EQ(reasoning[i], "thinking");
    EXPECT_EQ(num_ends[i], 1);
  }
}

// The bytes of the log-probabilities are the text that they go with, in answer and stream.
TEST(ChatLogprobsOfAReply, AlignWithTheText) {
  const TestApi model = api(replying("one</think>a 漢字 end\nSTOP never seen"));
  const std::string request =
      R"("logprobs":true,"top_logprobs":1,"stop":"STOP","messages":[{"role":"user","content":"x"}]})";
  const auto text_of = [](const Json& entries) {
    std::string text;
    for (const Json& entry : entries) {
      EXPECT_EQ(entry["logprob"], -0.25);
      EXPECT_EQ(entry["top_logprobs"].size(), 1U);
      for (const Json& byte : entry["bytes"]) {
        text.push_back(static_cast<char>(byte.get<int>()));
      }
    }
    return text;
  };
  const Json choice =
      Json::parse(body_of(model.post("/v1/chat/completions", "{" + request)))["choices"][0];
  EXPECT_EQ(choice["message"]["content"], "a 漢字 end\n");
  EXPECT_EQ(text_of(choice["logprobs"]["content"]), "a 漢字 end\n");
  EXPECT_EQ(text_of(choice["logprobs"]["reasoning_content"]), "one");

  std::string content;
  for (const Json& chunk :
       chunks_of(model.post("/v1/chat/completions", R"({"stream":true,)" + request))) {
    if (chunk.is_object() && !chunk["choices"][0]["logprobs"].is_null()) {
      content += text_of(chunk["choices"][0]["logprobs"]["content"]);
    }
  }
  EXPECT_EQ(content, "a 漢字 end\n");
}

TEST(ChatLogprobsOfAReply, CallsOfToolsHaveNone) {
  const ExchangePtr exchange =
      api(replying(std::string(kCalls)))
          .post("/v1/chat/completions",
                R"({"logprobs":true,"messages":[{"role":"user","content":"Hi"}],)" +
                    std::string(kTool) + "}");
  const Json body = Json::parse(body_of(exchange));
  std::string text;
  for (const Json& entry : body["choices"][0]["logprobs"]["content"]) {
    text += entry["token"];
  }
  EXPECT_EQ(text, "Let me see.\n\n");  // a token that begins as content
}

TEST(ChatStream, ProgressIsToldWhereItIsWanted) {
  ReplayOptions options = replying("</think>x");
  options.num_cached = 2;
  const std::vector<Json> chunks = chunks_of(api(options).post(
      "/v1/chat/completions",
      R"({"stream":true,"return_progress":true,"messages":[{"role":"user","content":"Hi"}]})"));
  const Json& progress = chunks.at(1)["prompt_progress"];
  EXPECT_EQ(progress["total"], 5);
  EXPECT_EQ(progress["cache"], 2);
  EXPECT_EQ(progress["processed"], 5);
  EXPECT_TRUE(progress["time_ms"].is_number_integer());
  EXPECT_EQ(chunks[1]["choices"].size(), 1U);
}

TEST(ChatReply, AFailureIsAStatusOrTheLastEvent) {
  ReplayOptions options = replying("</think>text");
  options.failure = Error(ErrorCode::OutOfMemory, "the cache is full");
  const TestApi failing = api(options);
  const std::string request = R"("messages":[{"role":"user","content":"Hi"}]})";
  const ExchangePtr whole = failing.post("/v1/chat/completions", "{" + request);
  EXPECT_EQ(whole->response().value().status, 503);
  const ExchangePtr stream = failing.post("/v1/chat/completions", R"({"stream":true,)" + request);
  const Json last = chunks_of(stream).back();
  EXPECT_EQ(last["error"]["message"], "the cache is full");
  EXPECT_EQ(last["error"]["code"], "insufficient_system_resource");
  EXPECT_TRUE(stream->is_complete());
}

TEST(ChatReply, AFullQueueIs429AlsoForAStream) {
  ReplayOptions options = replying("x");
  options.refusal = Error(ErrorCode::Overloaded, "the queue is full");
  const ExchangePtr exchange = api(options).post(
      "/v1/chat/completions", R"({"stream":true,"messages":[{"role":"user","content":"Hi"}]})");
  EXPECT_FALSE(exchange->is_streaming());
  EXPECT_EQ(exchange->response().value().status, 429);
  EXPECT_EQ(exchange->response().value().headers.at(0).name, "Retry-After");
}

TEST(ChatReply, ADisconnectCancels) {
  ReplayOptions options = replying("</think>" + std::string(2000, 'x'));
  options.is_threaded = true;
  options.token_delay = std::chrono::milliseconds(5);
  const TestApi slow = api(options);
  const ExchangePtr exchange = slow.post(
      "/v1/chat/completions", R"({"stream":true,"messages":[{"role":"user","content":"Hi"}]})");
  exchange->disconnect();
  EXPECT_EQ(slow.engine().num_cancelled(), 1U);
  EXPECT_FALSE(exchange->is_complete());
}

}  // namespace
}  // namespace fathom::openai
