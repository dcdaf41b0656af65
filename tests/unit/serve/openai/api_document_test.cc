#include "fathom/serve/openai/api_document.h"

#include <set>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "fathom/serve/openai/routes.h"

#include "tests/support/test_api.h"

namespace fathom::openai {
namespace {

using fathom::testing::replying;
using fathom::testing::TestApi;
using Json = nlohmann::json;

// Every "$ref" of a document.
void collect_references(const Json& node, std::set<std::string>& references) {
  for (const auto& [key, value] : node.items()) {
    if (key == "$ref" && value.is_string()) {
      references.insert(value);
    } else if (value.is_structured()) {
      collect_references(value, references);
    }
  }
}

TEST(ApiDocument, IsServedAsItIs) {
  const TestApi api(add_routes, replying("x"));
  EXPECT_EQ(api.get("/openapi.json")->response().value().body, api_document());
}

TEST(ApiDocument, WhatItRefersToIsThereAndUsed) {
  const Json document = Json::parse(api_document());
  EXPECT_EQ(document["openapi"], "3.1.0");
  std::set<std::string> references;
  collect_references(document, references);
  for (const std::string& reference : references) {
    ASSERT_TRUE(reference.starts_with("#/")) << reference;
    EXPECT_TRUE(document.contains(Json::json_pointer(reference.substr(1)))) << reference;
  }
  for (const char* const kind : {"schemas", "responses"}) {
    for (const auto& [name, value] : document["components"][kind].items()) {
      const std::string reference = std::string("#/components/") + kind + "/" + name;
      // Parts of a stream are described in words, which no reference reaches.
      EXPECT_TRUE(references.count(reference) > 0 || name == "ChatChunk") << reference;
    }
  }
}

TEST(ApiDocument, EveryPathOfOursHasAHandlerAndEveryOperationAnOrdinaryAnswer) {
  const Json document = Json::parse(api_document());
  const TestApi api(add_routes, replying("x"));
  std::set<std::string> names;
  for (const auto& [path, item] : document["paths"].items()) {
    for (const auto& [method, operation] : item.items()) {
      EXPECT_TRUE(names.insert(operation["operationId"]).second) << path;
      EXPECT_TRUE(operation["responses"].contains("default")) << path;
      const std::string tag = operation["tags"][0];
      if (tag == "OpenAI" || tag == "Tokenizer") {
        const std::string upper = method == "get" ? "GET" : "POST";
        EXPECT_NE(api.router().find(upper, path).handler, nullptr) << upper << " " << path;
      }
    }
  }
  EXPECT_GT(names.size(), 10U);
}

}  // namespace
}  // namespace fathom::openai
