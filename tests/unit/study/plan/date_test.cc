#include "fathom/study/plan/date.h"

#include <string>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::plan {
namespace {

using testing::fails_with;

TEST(Date, TextIsReadBackTheSame) {
  // The first and the last year that a date is written with: beyond what nanoseconds can count.
  for (const std::string text :
       {"0001-01-01", "1969-12-31", "2024-02-29", "6026-11-26", "9999-12-31"}) {
    EXPECT_EQ(date_text(parse_date(text, "date")), text);
  }
  EXPECT_EQ(date_text(parse_date("2026-11-26", "date") + std::chrono::hours{23}), "2026-11-26");
}

TEST(Date, AnythingElseIsRefusedByTheNameOfItsField) {
  for (const std::string text :
       {"", "2026-02-30", "2026-13-01", "2026-1-1", "26-01-01xx", "2026-11-26 "}) {
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "--date: found \"" + text + "\"", [&] {
      parse_date(text, "--date");
    })) << text;
  }
}

}  // namespace
}  // namespace fathom::plan
