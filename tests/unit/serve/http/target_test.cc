#include "fathom/serve/http/target.h"

#include <gtest/gtest.h>

namespace fathom::http {
namespace {

void expect_target(std::string_view raw, std::string_view path, std::string_view query) {
  const std::optional<Target> target = parse_target(raw);
  ASSERT_TRUE(target.has_value()) << raw;
  EXPECT_EQ(target->path, path) << raw;
  EXPECT_EQ(target->query, query) << raw;
}

TEST(Target, PathsAreDecodedAndQueriesAreNot) {
  expect_target("/", "/", "");
  expect_target("/v1/models?beta=true", "/v1/models", "beta=true");
  expect_target("/a%20b%C3%A9?x=%20&y=?", "/a b\xc3\xa9", "x=%20&y=?");
  expect_target("/models/maker%2Fsmall", "/models/maker/small", "");
  expect_target("/a?", "/a", "");
  expect_target("/.hidden/...", "/.hidden/...", "");
}

TEST(Target, WholeUrlsGiveTheirPath) {
  expect_target("http://host:80/a?b", "/a", "b");
  expect_target("HTTPS://host", "/", "");
  EXPECT_FALSE(parse_target("http://host?x"));
}

TEST(Target, WhatCouldMeanAnotherPathIsRefused) {
  for (const std::string_view raw :
       {"",        "a",         "*",           "host:80",   "/%",     "/%4",
        "/%zz",    "/%00",      "/a%0d%0ab",   "/%7f",      "/../a",  "/a/..",
        "/a/./b",  "/%2e%2e/a", "/a%2F..%2Fb", "/a\\..\\b", "/%5c..", "/%ff",
        "/%c0%ae", "/a#b",      "/a?b#c"}) {
    EXPECT_FALSE(parse_target(raw).has_value()) << raw;
  }
}

}  // namespace
}  // namespace fathom::http
