#include "fathom/model/text/json_field.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::text {
namespace {

using fathom::testing::fails_with;

TEST(JsonField, NumbersOutsideTheirRangeAreRefusedByName) {
  const JsonValue root = parse_json(
      R"({"t": 0.5, "n": 7, "big": 99999999999999999999, "f": 1.5, "s": "x", "z": null})", "test");
  const JsonField field(&root);
  EXPECT_EQ(field.member("t").number(0, 2), 0.5);
  EXPECT_EQ(field.member("n").integer(0, 7), 7);
  EXPECT_EQ(field.member("z").integer(0, 7), std::nullopt);
  EXPECT_EQ(field.member("absent").number(0, 1), std::nullopt);
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "n: expected an integer from 0 to 6, found 7",
                         [&] { static_cast<void>(field.member("n").integer(0, 6)); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "big: expected",
                         [&] { static_cast<void>(field.member("big").integer(0, 6)); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument,
                         "f: expected an integer from 0 to 6, found 1.5",
                         [&] { static_cast<void>(field.member("f").integer(0, 6)); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument,
                         "s: expected a number from 0 to 2, found \"x\"",
                         [&] { static_cast<void>(field.member("s").number(0, 2)); }));
}

TEST(JsonField, PathsNameMembersAndItems) {
  const JsonValue root = parse_json(R"({"a": [{"b": 1}]})", "test");
  const JsonField b = JsonField(&root).member("a").item(0).member("b");
  EXPECT_EQ(b.path(), "a[0].b");
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "a[0].b: expected a string, found 1",
                         [&] { static_cast<void>(b.text()); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument,
                         "request body: expected a string, found an object",
                         [&] { static_cast<void>(JsonField(&root).text()); }));
}

}  // namespace
}  // namespace fathom::text
