#include "fathom/serve/wire/status_routes.h"

#include <memory>

#include <gtest/gtest.h>

#include "tests/support/fake_exchange.h"
#include "tests/support/replay_engine.h"

namespace fathom::wire {
namespace {

using fathom::testing::ReplayEngine;
using fathom::testing::v4_text_model;
using test::FakeExchange;

http::Response ask(const http::Router& router, const std::string& path) {
  const auto exchange =
      std::make_shared<FakeExchange>(http::Request{.method = "GET", .path = path});
  (*router.find("GET", path).handler)(exchange);
  return exchange->response().value();
}

TEST(StatusRoutes, AServerIsHealthyOnceItsModelsAreLoaded) {
  const auto service = std::make_shared<Service>(ServiceOptions{});
  http::Router router;
  add_status_routes(router, service);
  EXPECT_EQ(router.find("GET", "/health").access, http::Access::Open);
  EXPECT_EQ(router.find("GET", "/metrics").access, http::Access::WithKey);
  EXPECT_EQ(ask(router, "/health").status, 503);
  EXPECT_EQ(ask(router, "/metrics").status, 200);

  service->publish({{.name = "m",
                     .engine = std::make_shared<ReplayEngine>(v4_text_model(),
                                                              fathom::testing::ReplayOptions{})}});
  EXPECT_EQ(ask(router, "/health").status, 200);
  EXPECT_NE(ask(router, "/metrics").body.find("fathom_requests_running{model=\"m\"} 0"),
            std::string::npos);
}

}  // namespace
}  // namespace fathom::wire
