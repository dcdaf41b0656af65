#include "fathom/serve/http/response_head.h"

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
  const std::string before = "HTTP/1.1 404 Not Found\r\nDate: ";
  const std::string date = "Sun, 06 Nov 1994 08:49:37";
  EXPECT_TRUE(bytes.starts_with(before)) << bytes;
  EXPECT_EQ(bytes.substr(before.size() + date.size()),
            " GMT\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n"
            "x-request-id: req_1\r\nrequest-id: req_1\r\nAllow: GET\r\n\r\n");
  for (std::size_t i = 0; i < date.size(); ++i) {
    const char found = bytes[before.size() + i];
    const bool is_alike = date[i] == '0' || (date[i] >= '1' && date[i] <= '9')
                              ? found >= '0' && found <= '9'
                              : (date[i] >= 'A' ? found >= 'A' : found == date[i]);
    EXPECT_TRUE(is_alike) << bytes;
  }
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
