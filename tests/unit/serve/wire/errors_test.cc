#include "fathom/serve/wire/errors.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace fathom::wire {
namespace {

TEST(Errors, TheFieldIsWhatAMessageBeginsWith) {
  EXPECT_EQ(field_of("messages[3].role: expected a string"), "messages[3].role");
  EXPECT_EQ(field_of("prompt: 9 tokens"), "prompt");
  EXPECT_EQ(field_of("request body: expected a JSON object"), "");
  EXPECT_EQ(field_of("no field here"), "");
  EXPECT_EQ(field_of(": x"), "");
}

TEST(Errors, OpenAiBodiesNameTypeFieldAndCode) {
  const http::Response response =
      openai_error(Error(ErrorCode::ContextTooLong, "messages: 9 tokens, expected at most 8"));
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(nlohmann::json::parse(response.body),
            nlohmann::json::parse(R"({"error": {"message": "messages: 9 tokens, expected at most 8",
              "type": "invalid_request_error", "param": "messages",
              "code": "context_length_exceeded"}})"));
}

TEST(Errors, ClientsFindTheCodesThatTheyLookFor) {
  const auto has_code = [](ErrorCode code, const std::string& message, const std::string& name) {
    return openai_error_json(code, message).find("\"code\":\"" + name + "\"") != std::string::npos;
  };
  EXPECT_TRUE(has_code(ErrorCode::NotFound, "model: no", "model_not_found"));
  EXPECT_TRUE(has_code(ErrorCode::NotFound, "no such response", "not_found"));
  EXPECT_TRUE(
      has_code(ErrorCode::Unsupported, "messages[1].content[0]: no", "unsupported_content"));
  EXPECT_TRUE(has_code(ErrorCode::Unsupported, "suffix: no", "unsupported_value"));
  EXPECT_TRUE(has_code(ErrorCode::ContextTooLong, "messages: no", "context_length_exceeded"));
}

TEST(Errors, WhatTheServerRefusesHasTheShapeOfTheApi) {
  const http::Response key = server_error(401, "no key", {.path = "/v1/chat/completions"});
  EXPECT_EQ(key.status, 401);
  EXPECT_EQ(key.body, R"({"error":{"message":"no key","type":"invalid_request_error","param":null,)"
                      R"("code":"invalid_api_key"}})");
  EXPECT_EQ(server_error(413, "large", {.path = "/v1/messages", .request_id = "req_1"}).body,
            R"({"type":"error","error":{"type":"request_too_large","message":"large"},)"
            R"("request_id":"req_1"})");
  const http::Request versioned = {.path = "/v1/models", .headers = {{"anthropic-version", "1"}}};
  EXPECT_NE(server_error(405, "no", versioned).body.find(R"("type":"error")"), std::string::npos);
  EXPECT_NE(server_error(502, "x", {.path = "/"}).body.find("server_error"), std::string::npos);
  EXPECT_NE(server_error(418, "x", {.path = "/"}).body.find("invalid_value"), std::string::npos);
}

TEST(Errors, WhoShouldAskAgainIsToldWhen) {
  for (const ErrorCode code : {ErrorCode::Overloaded, ErrorCode::Unavailable}) {
    const http::Response response = anthropic_error(Error(code, "full"), "req_1");
    ASSERT_EQ(response.headers.size(), 1U);
    EXPECT_EQ(response.headers[0].name, "Retry-After");
  }
  EXPECT_EQ(anthropic_error(Error(ErrorCode::Overloaded, "full"), "req_1").body,
            R"({"type":"error","error":{"type":"rate_limit_error","message":"full"},)"
            R"("request_id":"req_1"})");
}

TEST(Errors, BytesThatAreNoTextDoNotBreakTheBody) {
  EXPECT_NO_THROW(nlohmann::json::parse(openai_error_json(ErrorCode::InvalidArgument, "a\xff")));
}

}  // namespace
}  // namespace fathom::wire
