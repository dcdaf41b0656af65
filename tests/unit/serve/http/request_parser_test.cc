#include "fathom/serve/http/request_parser.h"

#include <random>

#include <gtest/gtest.h>

namespace fathom::http {
namespace {

TEST(RequestParser, LeavesWhatBelongsToTheNextRequest) {
  RequestParser parser({});
  const std::string first = "POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
  EXPECT_EQ(parser.feed(first + "GET / HTTP/1.1\r\n"), first.size());
  ASSERT_TRUE(parser.is_done());
  const RequestHead head = parser.take_head();
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.target, "/a?b");
  EXPECT_TRUE(head.keeps_alive);
  ASSERT_EQ(head.headers.size(), 2U);
  EXPECT_EQ(head.headers[1].name, "Content-Length");
  EXPECT_EQ(parser.take_body(), "abc");
}

TEST(RequestParser, TheHeadIsThereBeforeTheBody) {
  RequestParser parser({});
  parser.feed("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\na");
  EXPECT_TRUE(parser.has_head());
  EXPECT_FALSE(parser.is_done());
  EXPECT_TRUE(parser.take_head().expects_continue);
  EXPECT_EQ(parser.body_bytes(), 1);
}

// However the bytes are cut, the request is the same.
TEST(RequestParser, CutsDoNotMatter) {
  std::string bytes =
      "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n10;x=\"y\"\r\n0123456789abcdef\r\n1\r\nz\r\n0\r\nT: 1\r\n\r\n";
  std::mt19937 random(1);
  for (int run = 0; run < 500; ++run) {
    RequestParser parser({});
    std::string waiting;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t count = std::min<std::size_t>(1 + random() % 9, bytes.size() - at);
      waiting.append(bytes, at, count);
      waiting.erase(0, parser.feed(waiting));
      at += count;
    }
    ASSERT_TRUE(parser.is_done());
    EXPECT_EQ(waiting, "");
    EXPECT_EQ(parser.take_head().headers.size(), 2U);
    EXPECT_EQ(parser.take_body(), "abc0123456789abcdefz");
  }
}

TEST(RequestParser, AnEmptyBodyInChunksMayComeByteByByte) {
  RequestParser parser({});
  std::string waiting;
  for (const char byte : std::string(
           "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: 1\r\n\r\n")) {
    EXPECT_FALSE(parser.is_done());
    waiting.push_back(byte);
    waiting.erase(0, parser.feed(waiting));
  }
  ASSERT_TRUE(parser.is_done());
  EXPECT_EQ(waiting, "");
  EXPECT_EQ(parser.take_body(), "");
}

// Much at once is not a long line.
TEST(RequestParser, ABodyAndRequestsBehindItMayBeLongerThanHeaders) {
  RequestParser parser({.header_bytes = 100});
  std::string bytes = "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nc8\r\n";
  bytes.append(200, 'y').append("\r\n0\r\n\r\n").append(1000, 'z');
  EXPECT_EQ(parser.feed(bytes), bytes.size() - 1000);
  ASSERT_TRUE(parser.is_done());
  EXPECT_EQ(parser.take_body(), std::string(200, 'y'));
}

TEST(RequestParser, ALineBetweenChunksWithoutAnEndIsRefused) {
  RequestParser parser({.header_bytes = 1000});
  std::string waiting = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;x=";
  while (!parser.failure() && waiting.size() < 5000) {
    waiting.append(100, 'y');
    waiting.erase(0, parser.feed(waiting));
  }
  ASSERT_TRUE(parser.failure().has_value());
  EXPECT_EQ(parser.failure()->status, 431);
  EXPECT_LT(waiting.size(), 1200U);
}

TEST(RequestParser, BodiesBeyondTheLimitAreRefusedAtTheirAnnouncement) {
  RequestParser parser({.body_bytes = 10});
  parser.feed("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n");
  EXPECT_EQ(parser.failure().value().status, 413);
  RequestParser chunked({.body_bytes = 10});
  chunked.feed(
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n5\r\n");
  EXPECT_EQ(chunked.failure().value().status, 413);
  EXPECT_FALSE(chunked.has_head());
}

TEST(RequestParser, CompressedBodiesAreRefused) {
  RequestParser parser({});
  parser.feed("POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: zstd\r\n\r\n");
  EXPECT_EQ(parser.failure().value().status, 415);
}

}  // namespace
}  // namespace fathom::http
