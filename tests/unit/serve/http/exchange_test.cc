#include "fathom/serve/http/exchange.h"

#include <gtest/gtest.h>

namespace fathom::http {
namespace {

TEST(Request, HeadersAreFoundInAnyCaseAndTheFirstCounts) {
  const Request request{.headers = {{"X-Api-Key", "a"}, {"x-api-key", "b"}, {"Accept", ""}}};
  EXPECT_EQ(request.header("x-API-key"), "a");
  EXPECT_EQ(request.header("x-api"), "");
  EXPECT_EQ(request.header("accept"), "");
}

}  // namespace
}  // namespace fathom::http
