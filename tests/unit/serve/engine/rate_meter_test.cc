#include "fathom/serve/engine/rate_meter.h"

#include <gtest/gtest.h>

namespace fathom::engine {
namespace {

TEST(RateMeter, CountsTheLastFullSeconds) {
  using std::chrono::milliseconds;
  RateMeter meter;
  const platform::Clock::time_point start = platform::Clock::time_point() + milliseconds(100'000);
  EXPECT_EQ(meter.per_s(start), 0);
  for (int i = 0; i < 100; ++i) {
    meter.add(start + milliseconds(100 * i), 3);
  }
  EXPECT_DOUBLE_EQ(meter.per_s(start + milliseconds(10'000)), 30);
  EXPECT_DOUBLE_EQ(meter.per_s(start + milliseconds(12'000)), 18);
  EXPECT_DOUBLE_EQ(meter.per_s(start + milliseconds(16'000)), 0);
  // A second that comes round again does not count what was there before.
  meter.add(start + milliseconds(16'000), 1);
  EXPECT_DOUBLE_EQ(meter.per_s(start + milliseconds(17'000)), 0.2);
}

}  // namespace
}  // namespace fathom::engine
