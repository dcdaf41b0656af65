#include "fathom/serve/http/response_head.h"

#include <regex>

#include <gtest/gtest.h>

namespace fathom::http {
namespace {

TEST(ResponseHead, IsALineForEachHeader) {
  const std::string bytes = to_bytes({.status = 404,
                                      .content_type = "text/plain",
                                      .headers = {{"Allow", "GET"}},
                                      .content_length = 5,
                                      .keeps_alive = false,
                                      .request_id = "req_1"});
  const std::regex expected(
      "HTTP/1.1 404 Not Found\r\n"
      "Date: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT\r\n"
      "Content-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n"
      "x-request-id: req_1\r\nrequest-id: req_1\r\nAllow: GET\r\n\r\n");
  EXPECT_TRUE(std::regex_match(bytes, expected)) << bytes;
}

TEST(ResponseHead, ALineBreakInAValueMakesNoHeader) {
  const std::string bytes = to_bytes({.headers = {{"X", "a\r\nSet-Cookie: b"}}});
  EXPECT_NE(bytes.find("X: a  Set-Cookie: b\r\n"), std::string::npos) << bytes;
}

TEST(ResponseHead, StatusesWithoutANameHaveNone) {
  EXPECT_EQ(reason_phrase(299), "");
  EXPECT_TRUE(to_bytes({.status = 299}).starts_with("HTTP/1.1 299 \r\n"));
}

}  // namespace
}  // namespace fathom::http
