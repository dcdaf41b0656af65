#include "fathom/model/sampling/random.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::sampling {
namespace {

using Words4 = std::array<std::uint32_t, 4>;

// The known answers that the authors of Random123 publish.
TEST(Philox, GivesThePublishedNumbers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words4{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Words4{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words4{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Uniform, ChangesWithSeedChoiceAndPositionOnly) {
  const double number = uniform(1, 2, 3);
  EXPECT_EQ(number, uniform(1, 2, 3));
  EXPECT_NE(number, uniform(2, 2, 3));
  EXPECT_NE(number, uniform(std::uint64_t{1} << 40 | 1, 2, 3));
  EXPECT_NE(number, uniform(1, 3, 3));
  EXPECT_NE(number, uniform(1, 2, 4));
  EXPECT_NE(uniform(1, 2, 3), uniform(1, 3, 2));
}

// Chi-square over 100 cells: 99 degrees of freedom exceed 160 in fewer than one case of 10,000.
TEST(Uniform, IsUniformAlongPositionsAndAlongSeeds) {
  constexpr Index kDraws = 100'000;
  for (const bool is_along_positions : {true, false}) {
    std::vector<double> counts(100, 0);
    for (Index i = 0; i < kDraws; ++i) {
      const double number =
          is_along_positions ? uniform(7, 0, i) : uniform(static_cast<std::uint64_t>(i), 0, 0);
      ASSERT_TRUE(number >= 0 && number < 1);
      counts[static_cast<std::size_t>(number * 100)] += 1;
    }
    double chi_square = 0;
    for (const double count : counts) {
      chi_square += (count - 1000) * (count - 1000) / 1000;
    }
    EXPECT_TRUE(chi_square <= 160) << chi_square;
  }
}

}  // namespace
}  // namespace fathom::sampling
