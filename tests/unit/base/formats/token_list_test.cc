#include "fathom/base/formats/token_list.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::formats {
namespace {

using fathom::testing::fails_with;

TEST(TokenList, IdsAreReadWithAndWithoutSpaces) {
  EXPECT_EQ(parse_token_list("7", "x"), (std::vector<std::int64_t>{7}));
  EXPECT_EQ(parse_token_list("1,2,3", "x"), (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_EQ(parse_token_list(" 1 , -2,9223372036854775807 ", "x"),
            (std::vector<std::int64_t>{1, -2, 9223372036854775807}));
}

TEST(TokenList, WhatIsNoIdIsRefusedWithItsPosition) {
  for (const auto& [text, part] : std::initializer_list<std::pair<const char*, const char*>>{
           {"", "--tokens: position 0: found \"\""},
           {"1,,2", "--tokens: position 1: found \"\""},
           {"1,2,", "--tokens: position 2: found \"\""},
           {"1,x", "--tokens: position 1: found \"x\""},
           {"1 2", "--tokens: position 0: found \"1 2\""},
           {"1,2.5", "--tokens: position 1: found \"2.5\""},
           {"+1", "--tokens: position 0: found \"+1\""},
           {"9223372036854775808", "--tokens: position 0: found \"9223372036854775808\""},
           {"1\n2", "--tokens: position 0: found \"1\\x0a2\""}}) {
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, part, [&] {
      parse_token_list(text, "--tokens");
    })) << text;
  }
}

}  // namespace
}  // namespace fathom::formats
