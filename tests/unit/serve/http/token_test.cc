#include "fathom/serve/http/token.h"

#include <set>

#include <gtest/gtest.h>

namespace fathom::http {
namespace {

TEST(Token, IsAPrefixAnd24DigitsThatDoNotRepeat) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string token = random_token("req_");
    EXPECT_TRUE(token.starts_with("req_"));
    EXPECT_EQ(token.size(), 28U);
    EXPECT_EQ(token.find_first_not_of("0123456789abcdef", 4), std::string::npos);
    EXPECT_TRUE(seen.insert(token).second);
  }
}

}  // namespace
}  // namespace fathom::http
