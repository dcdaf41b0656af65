#include "fathom/serve/engine/stats.h"

#include <gtest/gtest.h>

namespace fathom::engine {
namespace {

TEST(Histogram, AnObservationAtABoundIsWithinIt) {
  Histogram histogram;
  histogram.add(0.001);
  histogram.add(0.0011);
  histogram.add(1e9);
  EXPECT_EQ(histogram.cumulative()[0], 1U);
  EXPECT_EQ(histogram.cumulative()[1], 2U);
  EXPECT_EQ(histogram.cumulative().back(), 3U);
  EXPECT_EQ(histogram.count(), 3U);
  EXPECT_NEAR(histogram.sum_s(), 1e9 + 0.0021, 1e-3);
}

}  // namespace
}  // namespace fathom::engine
