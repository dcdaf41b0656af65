#include "fathom/compute/numeric/int16_rows.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::numeric {
namespace {

TEST(Int16Rows, CodesAreMultiplesOfTheLargestNumbersPart) {
  const std::vector<float> x = {0, -20.47F, 0.01F, 10.004F, 10.006F};
  std::int16_t codes[5];
  EXPECT_FLOAT_EQ(round_to_int16_row(x.data(), 5, codes), 0.01F);
  EXPECT_EQ(std::vector<std::int16_t>(codes, codes + 5),
            (std::vector<std::int16_t>{0, -2047, 1, 1000, 1001}));
}

TEST(Int16Rows, TheErrorIsAtMostHalfAStep) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (const Index width : {1, 5, 128}) {
    std::vector<float> x(to_size(width));
    std::vector<std::int16_t> codes(to_size(width));
    for (float& value : x) {
      value = normal(random);
    }
    const float scale = round_to_int16_row(x.data(), width, codes.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_LE(std::abs(static_cast<float>(codes[i]) * scale - x[i]), 0.501F * scale);
    }
  }
}

TEST(Int16Rows, ARowEndsWithItsScaleBehindAnEvenNumberOfCodes) {
  const std::vector<float> x = {2047, -3, 0.4F};
  EXPECT_EQ(int16_row_bytes(3), 4 * 2 + 4);
  std::vector<std::int16_t> row(6, -1);
  write_int16_row(x.data(), 3, row.data());
  EXPECT_EQ(std::vector<std::int16_t>(row.begin(), row.begin() + 4),
            (std::vector<std::int16_t>{2047, -3, 0, 0}));
  EXPECT_EQ(scale_of_int16_row(row.data(), 3), 1.0F);
}

TEST(Int16Rows, NumbersAboutZeroBecomeZero) {
  const float x[2] = {1e-31F, -1e-31F};
  std::int16_t codes[2] = {1, 1};
  EXPECT_EQ(round_to_int16_row(x, 2, codes), 0.0F);
  EXPECT_EQ(codes[0], 0);
  EXPECT_EQ(codes[1], 0);
}

TEST(Int16Rows, ANumberThatIsNoneSpoilsItsRow) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    const float x[3] = {1, bad, 2};
    std::int16_t codes[3];
    EXPECT_TRUE(std::isnan(round_to_int16_row(x, 3, codes)));
    EXPECT_EQ(codes[0], 0);
  }
}

}  // namespace
}  // namespace fathom::numeric
