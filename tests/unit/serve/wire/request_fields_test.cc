#include "fathom/serve/wire/request_fields.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::wire {
namespace {

using engine::ContentRule;
using engine::GenerateRequest;
using fathom::testing::fails_with;
using text::JsonField;

GenerateRequest read_all(std::string_view json) {
  const text::JsonValue body = text::parse_json(json, "test");
  const JsonField field(&body);
  GenerateRequest request;
  read_sampling(field, request);
  read_scheduling(field, request);
  request.stop_strings = read_stop_strings(field.member("stop"));
  read_structured_outputs(field, request.content);
  return request;
}

TEST(RequestFields, AnEmptyBodyLeavesEveryDefault) {
  for (const std::string_view json :
       {R"({})", R"({"temperature":null,"seed":null,"stop":null,"logit_bias":null,"top_k":null,
                     "stop_token_ids":null,"priority":null,"timeout":null,"guided_json":null})"}) {
    const GenerateRequest request = read_all(json);
    const sampling::SamplingOptions defaults;
    EXPECT_EQ(request.sampling.temperature, defaults.temperature);
    EXPECT_EQ(request.sampling.top_p, defaults.top_p);
    EXPECT_EQ(request.sampling.top_k, defaults.top_k);
    EXPECT_FALSE(request.has_seed);
    EXPECT_FALSE(request.deadline);
    EXPECT_EQ(request.priority, 0);
    EXPECT_TRUE(request.stop_strings.empty());
    EXPECT_EQ(request.content.kind, ContentRule::Kind::Free);
  }
}

TEST(RequestFields, EveryFieldArrives) {
  const GenerateRequest request = read_all(
      R"({"temperature":0.25,"top_p":0.5,"top_k":7,"min_p":0.125,"typical_p":0.75,
          "repetition_penalty":1.5,"presence_penalty":-1,"frequency_penalty":2,"seed":-1,
          "logit_bias":{"50":-100,"7":1.5},"stop_token_ids":[3,4],"ignore_eos":true,"priority":-2,
          "timeout":1.5,"stop":["a","b"]})");
  EXPECT_EQ(request.sampling.temperature, 0.25);
  EXPECT_EQ(request.sampling.top_p, 0.5);
  EXPECT_EQ(request.sampling.top_k, 7);
  EXPECT_EQ(request.sampling.min_p, 0.125);
  EXPECT_EQ(request.sampling.typical_p, 0.75);
  EXPECT_EQ(request.sampling.repetition_penalty, 1.5);
  EXPECT_EQ(request.sampling.presence_penalty, -1);
  EXPECT_EQ(request.sampling.frequency_penalty, 2);
  EXPECT_TRUE(request.has_seed);
  EXPECT_EQ(request.sampling.seed, ~std::uint64_t{0});
  ASSERT_EQ(request.sampling.logit_bias.size(), 2U);
  EXPECT_EQ(request.sampling.logit_bias[0].id, 50);
  EXPECT_EQ(request.sampling.logit_bias[1].bias, 1.5);
  EXPECT_EQ(request.stop_ids, (std::vector<engine::TokenId>{3, 4}));
  EXPECT_TRUE(request.ignores_end);
  EXPECT_EQ(request.priority, -2);
  EXPECT_EQ(request.deadline, std::chrono::milliseconds(1500));
  EXPECT_EQ(request.stop_strings, (std::vector<std::string>{"a", "b"}));
}

TEST(RequestFields, SpellingsOfOffMeanOff) {
  EXPECT_EQ(read_all(R"({"top_k":-1})").sampling.top_k, 0);
  // The most likely token alone: anything above 0 that no token's probability reaches.
  const double top_p = read_all(R"({"top_p":0})").sampling.top_p;
  EXPECT_TRUE(top_p > 0 && top_p < 1e-300) << top_p;
}

TEST(RequestFields, StructuredOutputsAreRulesOfTheContent) {
  const std::vector<std::pair<std::string_view, ContentRule>> cases = {
      {R"({"structured_outputs":{"json":{"type":"object"}}})",
       {ContentRule::Kind::JsonSchema, R"({"type": "object"})"}},
      {R"({"guided_json":"{}"})", {ContentRule::Kind::JsonSchema, "{}"}},
      {R"({"guided_regex":"a+"})", {ContentRule::Kind::Regex, "a+"}},
      {R"({"structured_outputs":{"grammar":"root ::= \"a\""}})",
       {ContentRule::Kind::Grammar, "root ::= \"a\""}},
      {R"({"guided_choice":["yes","a\"\\b\n\u0001é"]})",
       {ContentRule::Kind::Grammar, "root ::= \"yes\" | \"a\\\"\\\\b\\n\\x01é\"\n"}},
      {R"({"structured_outputs":{"json_object":true}})", {ContentRule::Kind::JsonObject, ""}},
  };
  for (const auto& [json, rule] : cases) {
    const ContentRule found = read_all(json).content;
    EXPECT_EQ(found.kind, rule.kind) << json;
    EXPECT_EQ(found.text, rule.text) << json;
  }
}

TEST(RequestFields, WhatIsWrongIsNamed) {
  const std::vector<std::pair<std::string_view, std::string_view>> cases = {
      {R"({"temperature":"hot"})", "temperature: expected a number from 0 to 2, found \"hot\""},
      {R"({"temperature":2.5})", "temperature: expected a number from 0 to 2, found 2.5"},
      {R"({"top_p":-0.1})", "top_p: expected"},
      {R"({"top_k":1.5})", "top_k: expected an integer"},
      {R"({"seed":"x"})", "seed: expected an integer"},
      {R"({"logit_bias":[1]})", "logit_bias: expected an object of token ids and numbers"},
      {R"({"logit_bias":{"a":1}})", "logit_bias: expected token ids as names, found \"a\""},
      {R"({"logit_bias":{"-1":1}})", "logit_bias: expected token ids as names, found \"-1\""},
      {R"({"logit_bias":{"1":101}})", "logit_bias.1: expected a number from -100 to 100"},
      {R"({"logit_bias":{"1":null}})", "logit_bias.1: expected a number from -100 to 100"},
      {R"({"stop":7})", "stop: expected a string or a list of strings, found 7"},
      {R"({"stop":""})", "stop: expected text that is not empty"},
      {R"({"stop":["a",""]})", "stop[1]: expected text that is not empty"},
      {R"({"stop":["a",1]})", "stop[1]: expected a string, found 1"},
      {R"({"stop":["1","2","3","4","5","6","7","8","9","a","b","c","d","e","f","g","h"]})",
       "stop: expected at most 16 strings, found 17"},
      {R"({"stop_token_ids":[1,null]})", "stop_token_ids[1]: expected a token id, found null"},
      {R"({"stop_token_ids":[-1]})", "stop_token_ids[0]: expected an integer from 0"},
      {R"({"ignore_eos":1})", "ignore_eos: expected true or false, found 1"},
      {R"({"priority":1e3})", "priority: expected an integer"},
      {R"({"timeout":-1})", "timeout: expected a number"},
      {R"({"guided_choice":[]})", "guided_choice: expected at least one string"},
      {R"({"guided_choice":["a",""]})", "guided_choice[1]: expected text"},
      {R"({"guided_json":3})", "guided_json: expected a JSON schema, found 3"},
      {R"({"guided_regex":"a","structured_outputs":{"json":"{}"}})",
       "guided_regex: expected at most one constraint"},
      {R"({"guided_regex":"a","structured_outputs":{"json_object":true}})",
       "structured_outputs.json_object: expected at most one constraint"},
      {R"({"structured_outputs":7})", "structured_outputs: expected an object, found 7"},
  };
  for (const auto& [json, message] : cases) {
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, std::string(message), [json = json] {
      read_all(json);
    })) << json;
  }
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported, "structured_outputs.structural_tag: ", [] {
    read_all(R"({"structured_outputs":{"structural_tag":"x"}})");
  }));
}

TEST(CacheScope, KeysAndUsersDoNotMix) {
  const auto scope = [](std::string key, std::string_view user) {
    return cache_scope(http::Request{.key_name = std::move(key)}, user);
  };
  EXPECT_EQ(scope("", ""), "");
  EXPECT_NE(scope("a", "bc"), scope("ab", "c"));
  EXPECT_NE(scope("a", ""), scope("", "a"));
  EXPECT_EQ(scope("a", "b"), scope("a", "b"));
}

}  // namespace
}  // namespace fathom::wire
