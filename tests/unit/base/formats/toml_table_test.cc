#include "fathom/base/formats/toml_table.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::formats {
namespace {

using testing::fails_with;
using namespace std::chrono_literals;

constexpr const char* kText = R"(
name = "x"
count = 3
half = 0.5
endless = inf
days = ["mon", "tue"]
rows = [[1, 4], [6, 10]]
day = 2026-08-16
moment = 2026-08-16T16:00:00+08:00
local = 2026-08-16T16:00:00
[inner]
deep = 1
[[row]]
id = 1
[[row]]
id = "two"
)";

TomlTable table() {
  return TomlTable::parse(kText, "t.toml");
}

TEST(TomlTable, ReadsEachTypeOfValue) {
  EXPECT_EQ(table().text("name"), "x");
  EXPECT_EQ(table().number("count"), 3);
  EXPECT_EQ(table().number("half"), 0.5);
  EXPECT_EQ(table().texts("days"), (std::vector<std::string>{"mon", "tue"}));
  EXPECT_EQ(table().find_number_rows("rows"), (std::vector<std::vector<double>>{{1, 4}, {6, 10}}));
  EXPECT_EQ(table().find_table("inner")->number("deep"), 1);
  EXPECT_EQ(table().tables("row").size(), 2U);
}

TEST(TomlTable, DatesAreMidnightUtcAndOffsetsAreTakenOff) {
  const auto midnight = std::chrono::sys_days{std::chrono::year{2026} / 8 / 16};
  EXPECT_EQ(table().time("day"), midnight);
  EXPECT_EQ(table().time("moment"), midnight + 8h);
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "t.toml:10: local: found a value of type",
                         [] { table().time("local"); }));
}

TEST(TomlTable, WhatIsNotThereIsNothingOrRefused) {
  EXPECT_FALSE(table().find_number("none"));
  EXPECT_FALSE(table().find_text("none"));
  EXPECT_FALSE(table().find_table("none"));
  EXPECT_TRUE(table().tables("none").empty());
  EXPECT_FALSE(table().has("none"));
  EXPECT_TRUE(
      fails_with(ErrorCode::InvalidArgument, "none: is missing", [] { table().number("none"); }));
}

TEST(TomlTable, AnotherTypeIsRefusedWithFileLineAndKey) {
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "t.toml:2: name: found a value of type",
                         [] { table().number("name"); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument,
                         "t.toml:5: endless: ", [] { table().number("endless"); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "t.toml:16: [[row]] 2: id: ", [] {
    table().tables("row")[1].number("id");
  }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "count: ", [] { table().tables("count"); }));
}

TEST(TomlTable, AKeyThatNobodyReadIsRefused) {
  const TomlTable inner = *table().find_table("inner");
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "t.toml:12: inner: unknown key \"deep\"",
                         [&] { inner.refuse_unread(); }));
  inner.number("deep");
  inner.refuse_unread();
}

TEST(TomlTable, WhatIsNotTomlIsRefusedWithItsLine) {
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "t.toml:2: not TOML: ", [] {
    TomlTable::parse("a = 1\na = 2\n", "t.toml");
  }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "t.toml:1: not TOML: ", [] {
    TomlTable::parse("day = 2026-13-01", "t.toml");
  }));
}

TEST(TomlTable, CharactersBeyondAsciiAreForComments) {
  const std::string accent = "\xc3\xa9";
  const auto value = [](const std::string& toml) {
    return TomlTable::parse(toml, "t.toml").text("a");
  };
  EXPECT_EQ(value("\xef\xbb\xbf# \xc3\xa9\na = 'b' # \xc3\xa9"), "b");
  EXPECT_EQ(value("a = \"#\\\"\\u00e9\""), std::string("#\"").append(accent));
  for (const char* bad : {"\na = '\xc3\xa9'", "\na = 1\"\xc3\xa9", "a = 'b'\n\xc3\xa9 = 1",
                          "\na = \"\\\"# \xc3\xa9\"", "\na = '# \xc3\xa9'"}) {
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "t.toml:2: not TOML that is read here", [&] {
      value(bad);
    })) << bad;
  }
}

}  // namespace
}  // namespace fathom::formats
