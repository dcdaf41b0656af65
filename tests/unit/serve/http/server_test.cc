#include "fathom/serve/http/server.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/http_server.h"

namespace fathom::http {
namespace {

using test::http_request;
using test::HttpClient;
using test::HttpResponse;
using test::HttpServer;

TEST(Server, AnswersOneRequestAfterAnotherOnAConnection) {
  HttpServer server;
  HttpClient client = server.connect();
  for (int i = 0; i < 3; ++i) {
    const HttpResponse response = client.ask(http_request("GET", "/hello"));
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "hello");
    EXPECT_EQ(response.headers.at("content-type"), "text/plain");
    EXPECT_EQ(response.headers.at("connection"), "keep-alive");
    EXPECT_TRUE(response.headers.at("x-request-id").starts_with("req_"));
    EXPECT_TRUE(response.headers.contains("date"));
  }
}

TEST(Server, StreamsEventsInChunks) {
  HttpServer server;
  HttpClient client = server.connect();
  const HttpResponse response = client.ask(http_request("POST", "/stream", "{}"));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.at("content-type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(response.headers.at("x-extra"), "1");
  EXPECT_EQ(response.body, "data: a\n\ndata: b\n\ndata: c\n\n");
  EXPECT_TRUE(response.is_complete);
  EXPECT_EQ(client.ask(http_request("GET", "/hello")).body, "hello");
}

}  // namespace
}  // namespace fathom::http
