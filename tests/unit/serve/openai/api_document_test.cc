#include "fathom/serve/openai/api_document.h"

#include <algorithm>
#include <cctype>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "fathom/serve/anthropic/messages.h"
#include "fathom/serve/openai/responses.h"
#include "fathom/serve/openai/routes.h"
#include "fathom/serve/wire/status_routes.h"

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

// Of every wire format; the page's files are no API.
http::Router all_routes() {
  const auto service = std::make_shared<wire::Service>(wire::ServiceOptions{});
  http::Router router;
  wire::add_status_routes(router, service);
  add_routes(router, service);
  add_responses_routes(router, service);
  anthropic::add_routes(router, service);
  return router;
}

std::string upper(std::string text) {
  for (char& letter : text) {
    letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  }
  return text;
}

// The path that the document speaks of: clients' base URLs lead to some paths by other ways too.
std::string documented_path(const Json& paths, const std::string& path) {
  for (const std::string_view prefix : {"/anthropic", "/beta"}) {
    if (path.starts_with(prefix)) {
      return documented_path(paths, path.substr(prefix.size()));
    }
  }
  if (!paths.contains(path) && path.starts_with("/v1/")) {
    return path.substr(3);
  }
  return paths.contains(path) ? path : "/v1" + path;
}

TEST(ApiDocument, EveryOperationHasAHandlerAndAnOrdinaryAnswer) {
  const Json document = Json::parse(api_document());
  const http::Router router = all_routes();
  std::set<std::string> names;
  for (const auto& [path, item] : document["paths"].items()) {
    for (const auto& [method, operation] : item.items()) {
      EXPECT_TRUE(names.insert(operation["operationId"]).second) << path;
      EXPECT_TRUE(operation["responses"].contains("default")) << path;
      const std::vector<http::Router::Name> routes = router.names();
      EXPECT_TRUE(std::any_of(
          routes.begin(), routes.end(),
          [&](const auto& route) { return route.method == upper(method) && route.path == path; }))
          << method << " " << path;
    }
  }
  EXPECT_GT(names.size(), 15U);
}

TEST(ApiDocument, EveryRouteIsInIt) {
  const Json paths = Json::parse(api_document())["paths"];
  std::set<std::string> operations;
  for (const auto& [path, item] : paths.items()) {
    for (const auto& [method, operation] : item.items()) {
      operations.insert(upper(method) + " " + path);
    }
  }
  for (const http::Router::Name& route : all_routes().names()) {
    if (route.path != "/") {  // the page
      EXPECT_TRUE(operations.contains(route.method + " " + documented_path(paths, route.path)))
          << route.method << " " << route.path;
    }
  }
}

}  // namespace
}  // namespace fathom::openai
