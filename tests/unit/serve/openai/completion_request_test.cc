#include "fathom/serve/openai/completion_request.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::openai {
namespace {

using engine::TextPrompt;
using engine::TokenPrompt;
using fathom::testing::fails_with;
using Ids = std::vector<engine::TokenId>;

CompletionRequest read(std::string_view json) {
  return read_completion(text::parse_json(json, "test"), http::Request{});
}

TEST(ReadCompletion, PromptsHaveFourForms) {
  const CompletionRequest text = read(R"({"prompt":"a"})");
  ASSERT_EQ(text.generate.size(), 1U);
  EXPECT_EQ(std::get<TextPrompt>(text.generate[0].prompt).text, "a");
  EXPECT_TRUE(std::get<TextPrompt>(text.generate[0].prompt).add_bos);
  const CompletionRequest texts = read(R"({"prompt":["a","b"],"add_special_tokens":false})");
  ASSERT_EQ(texts.generate.size(), 2U);
  EXPECT_EQ(std::get<TextPrompt>(texts.generate[1].prompt).text, "b");
  EXPECT_FALSE(std::get<TextPrompt>(texts.generate[1].prompt).add_bos);
  const CompletionRequest ids = read(R"({"prompt":[5,6]})");
  ASSERT_EQ(ids.generate.size(), 1U);
  EXPECT_EQ(std::get<TokenPrompt>(ids.generate[0].prompt).ids, (Ids{5, 6}));
  const CompletionRequest lists = read(R"({"prompt":[[5,6],[7]]})");
  ASSERT_EQ(lists.generate.size(), 2U);
  EXPECT_EQ(std::get<TokenPrompt>(lists.generate[1].prompt).ids, Ids{7});
}

TEST(ReadCompletion, EveryFieldArrives) {
  const CompletionRequest request = read(
      R"({"prompt":["a","b"],"model":"m","n":2,"best_of":3,"echo":true,"logprobs":4,"max_tokens":0,
          "stop":["x"],"seed":1234,"temperature":0,"stream_options":{"include_usage":true},
          "guided_regex":"a+"})");
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(request.num_choices, 2);
  EXPECT_TRUE(request.echoes_prompt && request.has_logprobs && request.includes_usage);
  EXPECT_EQ(request.constraint_field, "guided_regex");
  for (const engine::GenerateRequest& generate : request.generate) {
    EXPECT_EQ(generate.num_choices, 3);
    EXPECT_EQ(generate.max_tokens, 0);
    EXPECT_EQ(generate.num_prompt_logprobs, 4);
    EXPECT_EQ(generate.sampling.num_top_logprobs, 4);
    EXPECT_EQ(generate.stop_strings, std::vector<std::string>{"x"});
    EXPECT_EQ(generate.sampling.seed, 1234U);
  }
}

TEST(ReadCompletion, DefaultsAreThoseOfTheApi) {
  const CompletionRequest request = read(R"({"prompt":"a","suffix":null,"logprobs":null})");
  EXPECT_EQ(request.generate[0].max_tokens, 16);
  EXPECT_FALSE(request.generate[0].num_prompt_logprobs);
  EXPECT_FALSE(request.generate[0].sampling.num_top_logprobs);
  EXPECT_FALSE(request.has_logprobs || request.echoes_prompt || request.is_streamed);
  EXPECT_FALSE(std::get<TextPrompt>(request.generate[0].prompt).suffix);
}

TEST(ReadCompletion, TheBestOfMoreChoicesAreFoundByLogprobs) {
  const CompletionRequest request = read(R"({"prompt":"a","best_of":2})");
  EXPECT_FALSE(request.has_logprobs);
  EXPECT_EQ(request.generate[0].sampling.num_top_logprobs, 0);
}

TEST(ReadCompletion, ASuffixFillsInTheMiddle) {
  const CompletionRequest request = read(R"({"prompt":"a","suffix":"z"})");
  EXPECT_EQ(std::get<TextPrompt>(request.generate[0].prompt).suffix, "z");
}

TEST(ReadCompletion, WhatIsWrongIsNamed) {
  const std::vector<std::pair<std::string_view, std::string_view>> cases = {
      {R"({})", "prompt: expected a string, token ids, or a list of either, found nothing"},
      {R"({"prompt":null})", "prompt: expected a string"},
      {R"({"prompt":7})", "prompt: expected a string"},
      {R"({"prompt":[]})", "prompt: expected at least one prompt"},
      {R"({"prompt":[[]]})", "prompt[0]: expected at least one token id"},
      {R"({"prompt":[[1],"a",true]})", "prompt[2]: expected a string or token ids, found true"},
      {R"({"prompt":[1,"a"]})", "prompt[1]: expected an integer"},
      {R"({"prompt":[1,-2]})", "prompt[1]: expected an integer from 0"},
      {R"({"prompt":[1.5]})", "prompt[0]: expected an integer"},
      {R"({"prompt":"a","max_tokens":-1})", "max_tokens: expected an integer from 0"},
      {R"({"prompt":"a","logprobs":true})", "logprobs: expected an integer from 0 to 20"},
      {R"({"prompt":"a","echo":1})", "echo: expected true or false"},
      {R"({"prompt":"a","n":3,"best_of":2})", "best_of: expected at least n, found 2"},
      {R"({"prompt":"a","best_of":2,"stream":true})", "best_of: expected no stream"},
      {R"({"prompt":[1],"suffix":"z"})", "suffix: expected a prompt of text beside it"},
      {R"({"prompt":"a","suffix":7})", "suffix: expected a string, found 7"},
      {R"({"prompt":"a","stop":[""]})", "stop[0]: expected text that is not empty"},
  };
  for (const auto& [json, message] : cases) {
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, std::string(message), [json = json] {
      read(json);
    })) << json;
  }
  std::string many = R"({"n":128,"prompt":["a")";
  for (int i = 0; i < 16; ++i) {
    many += R"(,"a")";
  }
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "prompt: expected at most 2048 replies",
                         [&] { read(many + "]}"); }));
  for (const std::string_view json :
       {R"({"prompt":"a","suffix":"z","echo":true,"logprobs":1})", R"({"prompt_embeds":"x"})",
        R"({"prompt":"a","prompt_logprobs":1})"}) {
    EXPECT_TRUE(fails_with(ErrorCode::Unsupported, ": ", [json] { read(json); })) << json;
  }
}

}  // namespace
}  // namespace fathom::openai
