#include "fathom/compute/ops/scale.h"

#include <gtest/gtest.h>

#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

class Scale : public OpTest {};

TEST_F(Scale, MultipliesByTheFactorRoundedToFp32) {
  const double factor = 1.0 / 3;
  const auto x = make({1, 2}, {3, -0.1F});
  scale(context(), x, factor);
  EXPECT_EQ(numbers(x), (std::vector<float>{3 * static_cast<float>(factor),
                                            -0.1F * static_cast<float>(factor)}));
}

TEST_F(Scale, OfficialProductIsBf16) {
  use(kOfficial);
  const auto x = make({1, 1}, {1});
  scale(context(), x, 1.0 / 3);
  EXPECT_EQ(numbers(x)[0], numeric::round_bf16(1.0F / 3));
}

TEST(ScaleGradient, MeetsCentralDifferences) {
  testing::GradientCheck check(3);
  const auto x = check.add_value("x", {3, 4});
  EXPECT_TRUE(check.check([&](Context& context) {
    scale(context, check.value(x), -0.75);
    return std::vector{check.value(x)};
  }));
}

}  // namespace
}  // namespace fathom::ops
