#include "fathom/compute/ops/rope.h"

#include <bit>
#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

constexpr YarnParameters kYarn = {16, 65536, 32, 1};

// Specification 8, fp32 bits of the frequencies.
constexpr std::uint32_t kYarnBits[] = {
    0x3f800000, 0x3f300a3a, 0x3ef21c1f, 0x3ea67d01, 0x3e64f92e, 0x3e1d7475, 0x3dd88cb4, 0x3d94e963,
    0x3d4ccccd, 0x3d0cd4fb, 0x3cc1b019, 0x3c8530ce, 0x3c372dbf, 0x3bfbed88, 0x3bad3d5e, 0x3b6e4237,
    0x3b147ae1, 0x3ab714e0, 0x3a5ebdb6, 0x3a0530ce, 0x399bb3af, 0x39305978, 0x38be904d, 0x383e9b5f,
    0x37a3d70c, 0x36b443d0, 0x3677eba6, 0x362a7be8, 0x35ea77ff, 0x35a13bdc, 0x355dbf30, 0x35187c4d};
constexpr std::uint32_t kPlainBits[] = {
    0x3f800000, 0x3f3ff911, 0x3f0ff59a, 0x3ed7e89b, 0x3ea1e89b, 0x3e72d423, 0x3e361887, 0x3e088d77,
    0x3dcccccd, 0x3d99940d, 0x3d6655c2, 0x3d2cba15, 0x3d0186e3, 0x3cc2434f, 0x3c91ad39, 0x3c5a7bf2,
    0x3c23d70a, 0x3bf5b9b0, 0x3bb8449c, 0x3b8a2e77, 0x3b4f3e38, 0x3b1b690d, 0x3ae91528, 0x3aaec98e,
    0x3a83126f, 0x3a44948c, 0x3a136a16, 0x39dd1725, 0x39a5cb60, 0x3978a815, 0x393a7753, 0x390bd472};

class Rope : public OpTest {
 protected:
  // Distance in units in the last place of fp32.
  static std::int64_t ulps(float a, float b) {
    const auto ordered = [](float value) {
      const auto bits = std::bit_cast<std::int32_t>(value);
      return bits < 0 ? std::int64_t{std::numeric_limits<std::int32_t>::min()} - bits
                      : std::int64_t{bits};
    };
    return std::abs(ordered(a) - ordered(b));
  }
  void expect_golden_table(const std::string& name, const RopeFrequencies& frequencies) {
    const auto positions32 = golden().read<std::int32_t>(name + ".positions");
    const auto expected = golden().read<float>(name + ".cos_sin");
    const std::vector<Index> positions(positions32.begin(), positions32.end());
    const auto table = rope_table(context(), positions, frequencies);
    ASSERT_EQ(table.num_elements(), to_index(expected.size()));
    const auto pairs = frequencies.values.size();
    for (std::size_t row = 0; row < positions.size(); ++row) {
      for (std::size_t pair = 0; pair < pairs; ++pair) {
        const float* found = table.data<float>() + row * 2 * pairs;
        const float* wanted = expected.data() + (row * pairs + pair) * 2;
        EXPECT_LE(ulps(found[pair], wanted[0]), 1) << positions[row] << " " << pair;
        EXPECT_LE(ulps(found[pairs + pair], wanted[1]), 1) << positions[row] << " " << pair;
      }
    }
  }
  tensor::Tensor table_of(std::vector<Index> positions) {
    return rope_table(context(), positions, rope_frequencies(64, 1e4, nullptr));
  }
};

TEST_F(Rope, FrequenciesAreThePublishedOnesBitForBit) {
  const auto yarn = rope_frequencies(64, 160000, &kYarn).values;
  const auto plain = rope_frequencies(64, 10000, nullptr).values;
  ASSERT_EQ(yarn.size(), 32U);
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(yarn[i]), kYarnBits[i]) << i;
    EXPECT_EQ(std::bit_cast<std::uint32_t>(plain[i]), kPlainBits[i]) << i;
  }
}

TEST_F(Rope, EqualEndsOfTheRampDoNotDivideByZero) {
  const YarnParameters narrow = {4, 128, 32, 31.999};
  for (const float frequency : rope_frequencies(64, 160000, &narrow).values) {
    EXPECT_TRUE(frequency > 0 && frequency <= 1);
  }
}

TEST_F(Rope, GoldenTablesToOneUnitInTheLastPlace) {
  expect_golden_table("rope.plain", rope_frequencies(64, 10000, nullptr));
  expect_golden_table("rope.yarn", rope_frequencies(64, 160000, &kYarn));
}

TEST_F(Rope, TurnsNeighboursOfTheLastDimensionsOnly) {
  const auto cos_sin = make({1, 2}, {0, 1});  // a quarter turn of one pair
  const auto x = make({1, 8}, {1, 2, 3, 4, 5, 6, 7, 8});
  rope(context(), x, 4, cos_sin, false);
  EXPECT_EQ(numbers(x), (std::vector<float>{1, 2, -4, 3, 5, 6, -8, 7}));
  rope(context(), x, 4, cos_sin, true);
  EXPECT_EQ(numbers(x), (std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST_F(Rope, ScoresDependOnTheDistanceOnly) {
  const auto query = random(64);
  const auto key = random(64);
  double first = 0;
  for (const Index shift : {0, 1, 100, 5000}) {
    const auto x = make({2, 64}, [&] {
      auto both = query;
      both.insert(both.end(), key.begin(), key.end());
      return both;
    }());
    rope(context(), x, 64, table_of({7 + shift, 3 + shift}), false);
    double score = 0;
    for (Index i = 0; i < 64; ++i) {
      score +=
          static_cast<double>(x.data<float>()[i]) * static_cast<double>(x.data<float>()[64 + i]);
    }
    first = shift == 0 ? score : first;
    EXPECT_NEAR(score, first, 5e-3);
  }
}

TEST_F(Rope, PositionZeroChangesNothing) {
  const auto values = random(96);
  const auto x = make({1, 96}, values);
  rope(context(), x, 96, table_of({0}), false);
  EXPECT_EQ(numbers(x), values);
}

TEST_F(Rope, HalvesAreNeighboursInAnotherOrder) {
  const auto cos_sin = table_of({11});
  const auto values = random(2 * 64);
  std::vector<float> reordered(values.size());
  for (std::size_t head = 0; head < 2; ++head) {
    for (std::size_t pair = 0; pair < 32; ++pair) {
      reordered[head * 64 + pair] = values[head * 64 + 2 * pair];
      reordered[head * 64 + 32 + pair] = values[head * 64 + 2 * pair + 1];
    }
  }
  const auto neighbours = make({1, 128}, values);
  const auto halves = make({1, 128}, reordered);
  rope(context(), neighbours, 64, cos_sin, false);
  rope(context(), halves, 64, cos_sin, false, RopePairs::Halves);
  for (std::size_t head = 0; head < 2; ++head) {
    for (std::size_t pair = 0; pair < 32; ++pair) {
      EXPECT_EQ(numbers(halves)[head * 64 + pair], numbers(neighbours)[head * 64 + 2 * pair]);
      EXPECT_EQ(numbers(halves)[head * 64 + 32 + pair],
                numbers(neighbours)[head * 64 + 2 * pair + 1]);
    }
  }
}

TEST_F(Rope, Llama3ScalingIsThatOfTransformers) {
  // transformers 5.23: base 500,000, factor 32, 1 and 4, context 8,192.
  constexpr float kExpected[] = {1,
                                 0.663601279F,
                                 0.440366626F,
                                 0.292227834F,
                                 0.193922758F,
                                 0.128687382F,
                                 0.0853971019F,
                                 0.0566696189F,
                                 0.0376060307F,
                                 0.0249554086F,
                                 0.0165604409F,
                                 0.0109895291F,
                                 0.00729266508F,
                                 0.00483942125F,
                                 0.00321144611F,
                                 0.00129054801F,
                                 0.000429556705F,
                                 9.70828623e-05F,
                                 1.94616387e-05F,
                                 1.29147675e-05F,
                                 8.57025589e-06F,
                                 5.68723226e-06F,
                                 3.77405445e-06F,
                                 2.50446715e-06F,
                                 1.66196742e-06F,
                                 1.10288363e-06F,
                                 7.31874934e-07F,
                                 4.85673127e-07F,
                                 3.22293289e-07F,
                                 2.1387423e-07F,
                                 1.41927202e-07F,
                                 9.41830649e-08F};
  RopeFrequencies frequencies = rope_frequencies(64, 500000, nullptr);
  scale_llama3(frequencies,
               {.factor = 32, .low_factor = 1, .high_factor = 4, .original_context = 8192});
  for (std::size_t pair = 0; pair < 32; ++pair) {
    EXPECT_NEAR(frequencies.values[pair], kExpected[pair], 1e-6F * kExpected[pair]) << pair;
  }
}

TEST_F(Rope, FrequenciesAreDividedByOneNumberOrByOneEach) {
  RopeFrequencies frequencies{{1, 0.5F, 0.25F}};
  divide_frequencies(frequencies, 2.0);
  EXPECT_EQ(frequencies.values, (std::vector<float>{0.5F, 0.25F, 0.125F}));
  const std::vector<float> divisors = {1, 5, 0.5F};
  divide_frequencies(frequencies, divisors);
  EXPECT_EQ(frequencies.values, (std::vector<float>{0.5F, 0.05F, 0.25F}));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "divisors",
                                  [&] { divide_frequencies(frequencies, std::vector<float>{1}); }));
}

TEST(RopeGradient, MeetsCentralDifferencesInEveryForm) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    testing::GradientCheck check(seed);
    const Index tokens = check.between(1, 5);
    const Index rope_dim = 2 * check.between(1, 4);
    const Index head_dim = rope_dim + check.between(0, 3);
    const auto x = check.add_value("x", {tokens, check.between(1, 3) * head_dim});
    std::vector<Index> positions(to_size(tokens));
    for (Index& position : positions) {
      position = check.between(0, 300);
    }
    const RopeFrequencies frequencies = rope_frequencies(rope_dim, 10000, nullptr);
    const RopePairs pairs = seed % 2 == 0 ? RopePairs::Neighbours : RopePairs::Halves;
    EXPECT_TRUE(check.check([&](Context& context) {
      rope(context, check.value(x), head_dim, rope_table(context, positions, frequencies),
           seed / 2 % 2 == 0, pairs);
      return std::vector{check.value(x)};
    })) << "seed "
        << seed;
  }
}

}  // namespace
}  // namespace fathom::ops
