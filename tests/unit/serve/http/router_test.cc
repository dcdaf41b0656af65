#include "fathom/serve/http/router.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::http {
namespace {

const Handler kNothing = [](const ExchangePtr&) {};

TEST(Router, FindsTheHandlerOfMethodAndPath) {
  Router router;
  int called = 0;
  router.add("GET", "/a", [&](const ExchangePtr&) { called = 1; });
  router.add(
      "POST", "/a", [&](const ExchangePtr&) { called = 2; }, Access::Open);
  const Router::Match match = router.find("POST", "/a");
  ASSERT_NE(match.handler, nullptr);
  EXPECT_EQ(match.access, Access::Open);
  (*match.handler)(nullptr);
  EXPECT_EQ(called, 2);
  EXPECT_EQ(router.find("GET", "/a").access, Access::WithKey);
}

TEST(Router, UnknownPathsAndMethodsAreToldApart) {
  Router router;
  router.add("GET", "/a", kNothing);
  router.add("DELETE", "/a", kNothing);
  EXPECT_EQ(router.find("GET", "/b").handler, nullptr);
  EXPECT_EQ(router.find("GET", "/b").allowed_methods, "");
  EXPECT_EQ(router.find("GET", "/a/").handler, nullptr);
  EXPECT_EQ(router.find("POST", "/a").handler, nullptr);
  EXPECT_EQ(router.find("POST", "/a").allowed_methods, "GET, HEAD, DELETE");
}

TEST(Router, HeadIsAnsweredByGetUnlessItHasARouteOfItsOwn) {
  Router router;
  router.add("GET", "/a", kNothing);
  router.add("HEAD", "/b", kNothing);
  router.add("GET", "/b", kNothing);
  EXPECT_EQ(router.find("HEAD", "/a").handler, router.find("GET", "/a").handler);
  EXPECT_NE(router.find("HEAD", "/b").handler, nullptr);
  EXPECT_NE(router.find("HEAD", "/b").handler, router.find("GET", "/b").handler);
  EXPECT_EQ(router.find("PUT", "/b").allowed_methods, "HEAD, GET");
}

TEST(Router, ANameStandsForWhatIsLeftOfThePath) {
  Router router;
  router.add("GET", "/models/{id}", kNothing);
  router.add("GET", "/models/best", kNothing);
  EXPECT_EQ(router.find("GET", "/models/small").parameter, "small");
  EXPECT_EQ(router.find("GET", "/models/maker/small").parameter, "maker/small");
  EXPECT_EQ(router.find("GET", "/models/").handler, nullptr);
  EXPECT_EQ(router.find("GET", "/models").handler, nullptr);
  EXPECT_EQ(router.find("GET", "/models/best").parameter, "");
  EXPECT_NE(router.find("GET", "/models/best").handler,
            router.find("GET", "/models/small").handler);
}

TEST(Router, TheSameRouteTwiceIsABug) {
  Router router;
  router.add("GET", "/a", kNothing);
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "bug in Fathom",
                                  [&] { router.add("GET", "/a", kNothing); }));
}

}  // namespace
}  // namespace fathom::http
