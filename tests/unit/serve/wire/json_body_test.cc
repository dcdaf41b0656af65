#include "fathom/serve/wire/json_body.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::wire {
namespace {

using fathom::testing::fails_with;

TEST(JsonBody, IsAnObjectOrAnErrorThatSaysWhatIsWrong) {
  EXPECT_EQ(parse_body({.body = R"({"a": 1})"}).keys, std::vector<std::string>{"a"});
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "found nothing",
                         [&] { static_cast<void>(parse_body({.body = ""})); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "expected a JSON object",
                         [&] { static_cast<void>(parse_body({.body = "[1]"})); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "request body",
                         [&] { static_cast<void>(parse_body({.body = "{"})); }));
}

}  // namespace
}  // namespace fathom::wire
