#include "fathom/model/text/tokenizer_document.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/expect_error.h"

namespace fathom::text {
namespace {

TokenizerDocument parse_document(const std::string& json, nlohmann::json& rest) {
  return parse_tokenizer_document(json, "t.json", rest);
}

TEST(TokenizerDocument, ListsOfTheModelAreTakenOutAndTheRestIsJson) {
  nlohmann::json rest;
  const TokenizerDocument document = parse_document(
      R"({"vocab":{"x":1},"model":{"vocab":{"a":0,"b":1},"merges":["a b",["c","d e"]],"k":[1,{"vocab":{}}]}})",
      rest);
  EXPECT_EQ(document.vocab.size(), 2U);
  ASSERT_EQ(document.merges.size(), 2U);
  EXPECT_EQ(document.merges[1].second, "d e");
  EXPECT_EQ(rest, nlohmann::json::parse(R"({"vocab":{"x":1},"model":{"k":[1,{"vocab":{}}]}})"));
}

TEST(TokenizerDocument, BrokenJsonIsRefused) {
  for (const char* json : {"", "{", "{\"model\":{\"vocab\":{\"a\":1.5}}}", "{\"a\":1,\"a\":2}",
                           "{\"model\":{\"merges\":[{}]}}", "{\"model\":{\"merges\":[[\"a\",[]]]}}",
                           "{\"model\":{\"vocab\":{\"a\":[]}}}", "[1,]", "\"\xff\""}) {
    nlohmann::json rest;
    EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidCheckpoint, "t.json", [&] {
      parse_document(json, rest);
    })) << json;
  }
}

TEST(TokenizerDocument, DepthIsLimited) {
  nlohmann::json rest;
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidCheckpoint, "depth",
                                  [&] { parse_document(std::string(1'000'000, '['), rest); }));
}

}  // namespace
}  // namespace fathom::text
