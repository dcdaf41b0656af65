#include "fathom/base/formats/number_text.h"

#include <limits>

#include <gtest/gtest.h>

namespace fathom::formats {
namespace {

TEST(NumberText, DigitsAreGroupedInThrees) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(1234567), "1,234,567");
  EXPECT_EQ(grouped(-123), "-123");
  EXPECT_EQ(grouped(-1234), "-1,234");
  EXPECT_EQ(grouped(std::numeric_limits<Index>::min()), "-9,223,372,036,854,775,808");
}

}  // namespace
}  // namespace fathom::formats
