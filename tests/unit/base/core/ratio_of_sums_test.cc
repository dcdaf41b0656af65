#include "fathom/base/core/ratio_of_sums.h"

#include <cmath>

#include <gtest/gtest.h>

namespace fathom {
namespace {

// Two samples: 10 of 4 and 2 of 2, so 12 / 6 = 2; what is left of each is 2 and -2.
TEST(RatioOfSums, RatioAndStandardErrorOfTwoSamples) {
  RatioOfSums ratio;
  EXPECT_TRUE(std::isnan(ratio.ratio()));
  ratio.add(10, 4);
  EXPECT_EQ(ratio.ratio(), 2.5);
  EXPECT_FALSE(ratio.standard_error().has_value());
  ratio.add(2, 2);
  EXPECT_EQ(ratio.ratio(), 2);
  EXPECT_EQ(ratio.denominator(), 6);
  EXPECT_NEAR(ratio.standard_error().value(), std::sqrt(8.0 * 2 / 1) / 6, 1e-15);
}

}  // namespace
}  // namespace fathom
