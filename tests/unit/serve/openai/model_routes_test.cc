#include "fathom/serve/openai/model_routes.h"

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"
#include "fathom/serve/openai/routes.h"

#include "tests/support/expect_error.h"
#include "tests/support/test_api.h"

namespace fathom::openai {
namespace {

using fathom::testing::fails_with;
using fathom::testing::replying;
using fathom::testing::TestApi;

TEST(Models, AreListedInTheShapeOfTheClientsApi) {
  const TestApi api(add_routes, replying("x"));
  const std::string model =
      R"({"id":"test-model","object":"model","created":1700000000,"owned_by":"fathom",)"
      R"("max_model_len":1048576,"context_length":1048576})";
  EXPECT_EQ(api.get("/v1/models")->response().value().body,
            R"({"object":"list","data":[)" + model + "]}");
  EXPECT_EQ(api.get("/models/test-model")->response().value().body, model);
  const std::vector<http::Header> anthropic = {{"anthropic-version", "2023-06-01"}};
  EXPECT_EQ(api.get("/v1/models", anthropic)->response().value().body,
            R"({"data":[{"type":"model","id":"test-model","display_name":"test-model",)"
            R"("created_at":"2023-11-14T22:13:20Z","max_input_tokens":1048576}],"has_more":false,)"
            R"("first_id":"test-model","last_id":"test-model"})");
}

TEST(Models, AnUnknownOneIsNotFound) {
  const TestApi api(add_routes, replying("x"));
  const http::Response response = api.get("/v1/models/org/other")->response().value();
  EXPECT_EQ(response.status, 404);
  EXPECT_NE(response.body.find("\"code\":\"model_not_found\""), std::string::npos);
  EXPECT_NE(response.body.find("org/other"), std::string::npos);
  const http::Response anthropic =
      api.get("/v1/models/other", {{"anthropic-version", "x"}})->response().value();
  EXPECT_EQ(anthropic.status, 404);
  EXPECT_NE(anthropic.body.find("not_found_error"), std::string::npos);
}

TEST(Models, BeforeTheyAreLoadedClientsAreToldToWait) {
  const wire::Service loading{wire::ServiceOptions{}};
  EXPECT_TRUE(
      fails_with(ErrorCode::Unavailable, "loaded", [&] { list_models(http::Request{}, loading); }));
}

TEST(Embeddings, AreNotThere) {
  const TestApi api(add_routes, replying("x"));
  const http::Response response = api.post("/v1/embeddings", "{}")->response().value();
  EXPECT_EQ(response.status, 404);
  EXPECT_NE(response.body.find("no embeddings"), std::string::npos);
}

}  // namespace
}  // namespace fathom::openai
