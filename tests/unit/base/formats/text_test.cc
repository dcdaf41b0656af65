#include "fathom/base/formats/text.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::formats {
namespace {

TEST(Utf8, WellFormedTextIsAccepted) {
  using namespace std::string_view_literals;
  for (const std::string_view text :
       {""sv, "layers.0"sv, "\x7f"sv, "\0"sv, "\xc2\x80"sv, "\xdf\xbf"sv, "\xe0\xa0\x80"sv,
        "\xed\x9f\xbf"sv, "\xee\x80\x80"sv, "\xef\xbf\xbf"sv, "\xf0\x90\x80\x80"sv,
        "\xf4\x8f\xbf\xbf"sv, "a\xc3\xa4z"sv}) {
    EXPECT_TRUE(is_utf8(text)) << quote(text);
  }
}

TEST(Utf8, OverlongSurrogateTruncatedAndLargeFormsAreRefused) {
  for (const std::string_view text :
       {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x9f\xbf", "\xed\xa0\x80",
        "\xe2\x82", "\xe2\x82\x41", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff", "\xf0\x90\x80"}) {
    EXPECT_FALSE(is_utf8(text)) << quote(text);
  }
}

TEST(Quote, StaysOnOneLineAndShort) {
  EXPECT_EQ(quote("layers.0"), "\"layers.0\"");
  EXPECT_EQ(quote("a\n\x1b\"\\\xff"), R"("a\x0a\x1b\"\\\xff")");
  const std::string flood = quote(std::string(100000, '\n'));
  EXPECT_LT(flood.size(), 200U);
  EXPECT_NE(flood.find("(100000 bytes)"), std::string::npos);
}

TEST(Utf8, EveryMaximalBadSequenceBecomesOneReplacement) {
  const std::string kBad = "\xef\xbf\xbd";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a\xc3\xa4z", "a\xc3\xa4z"},
      {"\xff", kBad},
      {"\xff\xfe", kBad + kBad},
      {"a\xe2\x82", "a" + kBad},
      {"\xe2\x82z", kBad + "z"},
      {"\xf0\x9f\x98z", kBad + "z"},
      {"\xf0\x9f\xf0", kBad + kBad},
      {"\xe0\x80\x80", kBad + kBad + kBad},  // overlong
      {"\xed\xa0\x80", kBad + kBad + kBad},  // a surrogate
      {"\xc3", kBad},
  };
  for (const auto& [bad, good] : cases) {
    Index num_replaced = -1;
    EXPECT_EQ(replace_bad_utf8(bad, num_replaced), good) << quote(bad);
    EXPECT_TRUE(is_utf8(good));
    EXPECT_EQ(num_replaced == 0, bad == good);
  }
  Index num_replaced = 0;
  replace_bad_utf8("\xff.\xff", num_replaced);
  EXPECT_EQ(num_replaced, 2);
}

}  // namespace
}  // namespace fathom::formats
