#include "fathom/base/chart/chart_scale.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace fathom::chart {
namespace {

TEST(ChartScale, NumbersAreShort) {
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(0.6), "0.6");
  EXPECT_EQ(short_number(0.025), "0.025");
  EXPECT_EQ(short_number(0.003), "3m");
  EXPECT_EQ(short_number(999.4), "999.4");
  EXPECT_EQ(short_number(999.99), "1k");
  EXPECT_EQ(short_number(1.84e9), "1.84G");
  EXPECT_EQ(short_number(-12'000), "-12k");
  EXPECT_EQ(short_number(std::numeric_limits<double>::infinity()), "infinite");
  EXPECT_EQ(short_number(std::numeric_limits<double>::quiet_NaN()), "none");
}

TEST(ChartScale, LinearTicksAreRoundAndCoverTheRange) {
  const Scale scale(Scale::Kind::Linear, 0, 768);
  EXPECT_EQ(scale.ticks(), (std::vector<double>{0, 200, 400, 600, 800}));
  EXPECT_DOUBLE_EQ(scale.place(400), 0.5);
}

TEST(ChartScale, LogarithmicTicksAreDecadesOrTheirSteps) {
  EXPECT_EQ(Scale(Scale::Kind::Logarithmic, 1, 1e6).ticks().size(), 7U);
  const Scale near(Scale::Kind::Logarithmic, 3, 40);
  EXPECT_EQ(near.ticks(), (std::vector<double>{2, 5, 10, 20, 50}));
  EXPECT_DOUBLE_EQ(near.place(10), 0.5);
}

TEST(ChartScale, EndsOfTheDataKeepTicksWithinThem) {
  const Scale scale(Scale::Kind::Logarithmic, 1024, 1048576, Scale::Ends::Data);
  EXPECT_EQ(scale.ticks().front(), 10'000);
  EXPECT_EQ(scale.ticks().back(), 1e6);
  EXPECT_DOUBLE_EQ(scale.place(1024), 0);
  EXPECT_DOUBLE_EQ(scale.place(32768), 0.5);
  EXPECT_DOUBLE_EQ(scale.place(1048576), 1);
}

TEST(ChartScale, EveryRangeIsCoveredInOrder) {
  for (const auto kind : {Scale::Kind::Linear, Scale::Kind::Logarithmic}) {
    for (double low = 1e-4; low < 1e9; low *= 7.3) {
      for (const double factor : {1.0, 1.0001, 1.5, 30.0, 1e5}) {
        const Scale scale(kind, low, low * factor);
        EXPECT_TRUE(std::is_sorted(scale.ticks().begin(), scale.ticks().end()));
        EXPECT_GE(scale.ticks().size(), 2U);
        EXPECT_LE(scale.ticks().size(), 16U);
        EXPECT_LE(scale.low(), low * (1 + 1e-9));
        EXPECT_GE(scale.high(), low * factor * (1 - 1e-9));
        const double middle = scale.place(low * std::sqrt(factor));
        EXPECT_TRUE(middle >= 0 && middle <= 1);
      }
    }
  }
}

TEST(ChartScale, ValuesBeyondAnEndLieOnIt) {
  const Scale scale(Scale::Kind::Linear, -3, 7);
  EXPECT_EQ(scale.place(-1000), 0);
  EXPECT_EQ(scale.place(1000), 1);
}

TEST(ChartScale, EqualEndsAreMovedApart) {
  EXPECT_LT(Scale(Scale::Kind::Linear, 5, 5).low(), 5);
  EXPECT_EQ(Scale(Scale::Kind::Linear, 0, 0).low(), 0);
  EXPECT_GT(Scale(Scale::Kind::Logarithmic, 10, 10).high(), 10);
}

}  // namespace
}  // namespace fathom::chart
