#include "fathom/serve/wire/json_writer.h"

#include <cstdlib>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "fathom/model/text/json_value.h"

namespace fathom::wire {
namespace {

TEST(JsonWriter, SetsCommasBetweenMembersAndNowhereElse) {
  JsonWriter json;
  json.begin_object().field("a", 1).key("b").begin_array().value("x").null().value(true);
  json.begin_object().end_object().end_array().field("c", -0.5).null_field("d");
  json.raw_field("e", "[1,2]").end_object();
  EXPECT_EQ(json.take(), R"({"a":1,"b":["x",null,true,{}],"c":-0.5,"d":null,"e":[1,2]})");
  EXPECT_EQ(json.begin_array().end_array().take(), "[]");
}

TEST(JsonWriter, EscapesTextAndReplacesWhatIsNoUtf8) {
  EXPECT_EQ(JsonWriter().value("a\"\\\n\x01é").take(), "\"a\\\"\\\\\\n\\u0001é\"");
  EXPECT_EQ(JsonWriter().value("a\xff").take(), "\"a\xef\xbf\xbd\"");
}

TEST(JsonWriter, NumbersReadBackExactlyAndAreAlwaysJson) {
  for (const double number : {0.1, -9999.0, 1e-320, 1e300, 5e-324, 123456789.125}) {
    const std::string printed = JsonWriter().value(number).take();
    EXPECT_EQ(std::strtod(printed.c_str(), nullptr), number) << printed;
    EXPECT_TRUE(text::try_parse_json(printed)) << printed;
  }
  EXPECT_EQ(JsonWriter().value(-std::numeric_limits<double>::infinity()).take(), "null");
  EXPECT_EQ(JsonWriter().value(std::numeric_limits<double>::quiet_NaN()).take(), "null");
  EXPECT_EQ(JsonWriter().value(std::numeric_limits<std::int64_t>::min()).take(),
            "-9223372036854775808");
}

}  // namespace
}  // namespace fathom::wire
