#include "fathom/compute/numeric/small_floats.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/tensor_file.h"

namespace fathom::numeric {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::uint32_t bits_of(float value) {
  return std::bit_cast<std::uint32_t>(value);
}

const testing::TensorFile& golden() {
  static const testing::TensorFile file(FATHOM_SOURCE_DIR "/tests/data/golden/ops.safetensors");
  return file;
}

// Equal bits, or both NaN: the payload of a NaN is nobody's concern.
bool same(float a, float b) {
  return bits_of(a) == bits_of(b) || (std::isnan(a) && std::isnan(b));
}

// The neighbours of a value in the sorted list of a format's magnitudes decide: the nearer one, or
// on a tie the one with the even code. An oracle that shares no code with the rounding.
template <typename Decode>
unsigned nearest_code(double magnitude, unsigned num_codes, const Decode& decode) {
  unsigned best = 0;
  for (unsigned code = 1; code < num_codes; ++code) {
    const double distance = std::abs(static_cast<double>(decode(code)) - magnitude);
    const double best_distance = std::abs(static_cast<double>(decode(best)) - magnitude);
    if (distance < best_distance || (distance == best_distance && code % 2 == 0)) {
      best = code;
    }
  }
  return best;
}

TEST(E4m3, EveryCodeDecodesAsTheOfficialTableSays) {
  const auto expected = golden().read<float>("e4m3.all_codes_f32");
  ASSERT_EQ(expected.size(), 256U);
  for (unsigned code = 0; code < 256; ++code) {
    EXPECT_TRUE(same(e4m3_to_float(static_cast<std::uint8_t>(code)), expected[code])) << code;
  }
}

TEST(E4m3, RoundsAsTheOfficialCodeDoes) {
  const auto values = golden().read<float>("e4m3.round_in_f32");
  const auto codes = golden().read<std::uint8_t>("e4m3.round_codes");
  ASSERT_EQ(values.size(), codes.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(float_to_e4m3(values[i]), codes[i]) << values[i];
  }
}

TEST(E4m3, EveryCodeSurvivesDecodingAndEncoding) {
  for (unsigned code = 0; code < 256; ++code) {
    const bool is_nan = (code & 0x7fU) == 0x7fU;
    EXPECT_EQ(float_to_e4m3(e4m3_to_float(static_cast<std::uint8_t>(code))), is_nan ? 0x7fU : code);
  }
}

TEST(E4m3, RoundsToTheNearestCodeWithTiesToEven) {
  const auto decode = [](unsigned code) { return e4m3_to_float(static_cast<std::uint8_t>(code)); };
  std::mt19937 random(7);
  std::uniform_real_distribution<float> exponents(-12.0F, 9.0F);
  for (int i = 0; i < 20000; ++i) {
    const float value = std::min(std::exp2(exponents(random)), 448.0F);
    ASSERT_EQ(float_to_e4m3(value), nearest_code(static_cast<double>(value), 127, decode)) << value;
  }
  for (unsigned code = 0; code < 126; ++code) {
    const float middle = (decode(code) + decode(code + 1)) / 2;
    EXPECT_EQ(float_to_e4m3(middle), code + code % 2) << middle;
    EXPECT_EQ(float_to_e4m3(std::nextafter(middle, 0.0F)), code);
    EXPECT_EQ(float_to_e4m3(std::nextafter(middle, 500.0F)), code + 1);
  }
}

TEST(E4m3, LargeValuesSaturateAndNanStaysNan) {
  EXPECT_EQ(float_to_e4m3(449.0F), 0x7eU);
  EXPECT_EQ(float_to_e4m3(kInfinity), 0x7eU);
  EXPECT_EQ(float_to_e4m3(-kInfinity), 0xfeU);
  EXPECT_EQ(float_to_e4m3(kNan), 0x7fU);
  EXPECT_EQ(float_to_e4m3(-kNan), 0x7fU);
  EXPECT_EQ(float_to_e4m3(-0.0F), 0x80U);
  EXPECT_EQ(float_to_e4m3(std::numeric_limits<float>::denorm_min()), 0U);
}

TEST(E8m0, EveryCodeDecodesAsTheOfficialTableSays) {
  const auto expected = golden().read<float>("e8m0.all_codes_f32");
  ASSERT_EQ(expected.size(), 256U);
  for (unsigned code = 0; code < 256; ++code) {
    EXPECT_TRUE(same(e8m0_to_float(static_cast<std::uint8_t>(code)), expected[code])) << code;
  }
  EXPECT_TRUE(std::isnan(e8m0_to_float(255)));
}

TEST(E2m1, EveryCodeSurvivesDecodingAndEncoding) {
  for (unsigned code = 0; code < 16; ++code) {
    EXPECT_EQ(float_to_e2m1(kE2m1Values[code]), code);
  }
}

TEST(E2m1, TiesGoToTheEvenCode) {
  constexpr std::array<std::array<float, 2>, 7> kTies = {{{0.25F, 0.0F},
                                                          {0.75F, 1.0F},
                                                          {1.25F, 1.0F},
                                                          {1.75F, 2.0F},
                                                          {2.5F, 2.0F},
                                                          {3.5F, 4.0F},
                                                          {5.0F, 4.0F}}};
  for (const auto& [value, expected] : kTies) {
    EXPECT_EQ(kE2m1Values[float_to_e2m1(value)], expected) << value;
    EXPECT_EQ(kE2m1Values[float_to_e2m1(-value)], -expected) << value;
    EXPECT_NE(float_to_e2m1(std::nextafter(value, 0.0F)),
              float_to_e2m1(std::nextafter(value, 9.0F)));
  }
}

TEST(E2m1, RoundsToTheNearestCodeAndSaturates) {
  for (int i = 0; i <= 6000; ++i) {
    const float value = static_cast<float>(i) / 1000.0F;
    const unsigned expected = nearest_code(static_cast<double>(value), 8,
                                           [](unsigned code) { return kE2m1Values[code]; });
    ASSERT_EQ(float_to_e2m1(value), expected) << value;
  }
  EXPECT_EQ(float_to_e2m1(1e30F), 7U);
  EXPECT_EQ(float_to_e2m1(-kInfinity), 15U);
}

// x -> scale * code, rounded to BF16: the round trip of activations of the specification, 3.8.
template <typename Scale, typename Round>
void expect_group_rounding(const std::string& in,
                           const std::string& out,
                           std::size_t group,
                           const Scale& scale_of,
                           const Round& round) {
  const auto values = golden().read<std::uint16_t>(in);
  const auto expected = golden().read<std::uint16_t>(out);
  ASSERT_EQ(values.size(), expected.size());
  ASSERT_EQ(values.size() % group, 0U);
  for (std::size_t start = 0; start < values.size(); start += group) {
    float largest = 0;
    for (std::size_t i = start; i < start + group; ++i) {
      largest = std::max(largest, std::abs(bf16_to_float(values[i])));
    }
    const float scale = scale_of(largest);
    for (std::size_t i = start; i < start + group; ++i) {
      const float rounded = round(bf16_to_float(values[i]) / scale) * scale;
      ASSERT_EQ(float_to_bf16(rounded), expected[i]) << in << " " << i;
    }
  }
}

float through_e4m3(float value) {
  return e4m3_to_float(float_to_e4m3(value));
}
float through_e2m1(float value) {
  return kE2m1Values[float_to_e2m1(value)];
}

TEST(GroupScale, Fp8RoundingOfActivationsIsTheOfficialOne) {
  expect_group_rounding("act_quant.in", "act_quant.inplace128", 128, e4m3_group_scale,
                        through_e4m3);
  expect_group_rounding("act_quant.in", "act_quant.inplace64", 64, e4m3_group_scale, through_e4m3);
}

TEST(GroupScale, Fp8CodesAndScalesAreTheOfficialOnes) {
  const auto values = golden().read<std::uint16_t>("act_quant.in");
  const auto codes = golden().read<std::uint8_t>("act_quant.codes128");
  const auto scales = golden().read<float>("act_quant.scales128");
  ASSERT_EQ(scales.size() * 128, values.size());
  for (std::size_t group = 0; group < scales.size(); ++group) {
    float largest = 0;
    for (std::size_t i = 0; i < 128; ++i) {
      largest = std::max(largest, std::abs(bf16_to_float(values[group * 128 + i])));
    }
    const float scale = e4m3_group_scale(largest);
    ASSERT_EQ(bits_of(scale), bits_of(scales[group])) << group;
    for (std::size_t i = group * 128; i < (group + 1) * 128; ++i) {
      ASSERT_EQ(float_to_e4m3(bf16_to_float(values[i]) / scale), codes[i]) << i;
    }
  }
}

TEST(GroupScale, Fp4RoundingOfIndexVectorsIsTheOfficialOne) {
  expect_group_rounding("fp4_act_quant.in", "fp4_act_quant.inplace32", 32, e2m1_group_scale,
                        through_e2m1);
}

TEST(GroupScale, SmallGroupsAreRaisedToTheFloor) {
  EXPECT_EQ(e4m3_group_scale(0.0F), e4m3_group_scale(1e-4F));
  EXPECT_EQ(e4m3_group_scale(0.0F), 0x1p-22F);
  EXPECT_EQ(e2m1_group_scale(0.0F), 0x1p-126F);
  EXPECT_EQ(e2m1_group_scale(6.0F), 1.0F);
  EXPECT_EQ(e2m1_group_scale(std::nextafter(6.0F, 7.0F)), 2.0F);
  EXPECT_EQ(e4m3_group_scale(448.0F), 1.0F);
  EXPECT_EQ(e4m3_group_scale(std::nextafter(448.0F, 500.0F)), 2.0F);
}

TEST(GroupScale, NanAndInfinityStayVisible) {
  EXPECT_TRUE(std::isnan(e4m3_group_scale(kNan)));
  EXPECT_TRUE(std::isnan(e2m1_group_scale(kNan)));
  EXPECT_EQ(e4m3_group_scale(kInfinity), kInfinity);
}

TEST(CeilLog2, IsExactAtAndAroundPowersOfTwo) {
  for (int exponent = -126; exponent <= 127; ++exponent) {
    const float power = std::ldexp(1.0F, exponent);
    EXPECT_EQ(ceil_log2(power), exponent);
    EXPECT_EQ(ceil_log2(std::nextafter(power, kInfinity)), exponent + 1);
  }
}

TEST(F16, EveryCodeSurvivesDecodingAndEncoding) {
  for (unsigned code = 0; code < 0x10000; ++code) {
    const auto bits = static_cast<std::uint16_t>(code);
    const float value = f16_to_float(bits);
    if ((code & 0x7fffU) > 0x7c00U) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_GT(float_to_f16(value) & 0x7fffU, 0x7c00U);
    } else {
      ASSERT_EQ(float_to_f16(value), bits) << code;
      const unsigned exponent = code >> 10 & 31U;
      const double magnitude =
          exponent == 31  ? static_cast<double>(kInfinity)
          : exponent == 0 ? std::ldexp(code & 1023U, -24)
                          : std::ldexp(1024 + (code & 1023U), static_cast<int>(exponent) - 25);
      ASSERT_EQ(static_cast<double>(value), (code & 0x8000U) != 0 ? -magnitude : magnitude) << code;
    }
  }
}

TEST(F16, TiesGoToTheEvenCodeAndNeighboursToTheNearer) {
  for (unsigned code = 0; code < 0x7bffU; ++code) {
    const float low = f16_to_float(static_cast<std::uint16_t>(code));
    const float high = f16_to_float(static_cast<std::uint16_t>(code + 1));
    const float middle = (low + high) / 2;
    ASSERT_EQ(float_to_f16(middle), code + code % 2) << code;
    ASSERT_EQ(float_to_f16(std::nextafter(middle, 0.0F)), code);
    ASSERT_EQ(float_to_f16(std::nextafter(middle, kInfinity)), code + 1);
  }
  EXPECT_EQ(float_to_f16(65519.996F), 0x7bffU);
  EXPECT_EQ(float_to_f16(65520.0F), 0x7c00U);
  EXPECT_EQ(float_to_f16(-1e30F), 0xfc00U);
}

TEST(Bf16, TiesGoToTheEvenCodeAndNanStaysNan) {
  for (unsigned code = 0; code < 0x7f80U; ++code) {
    const std::uint32_t middle = code << 16 | 0x8000U;
    ASSERT_EQ(float_to_bf16(std::bit_cast<float>(middle)), code + code % 2);
    ASSERT_EQ(float_to_bf16(std::bit_cast<float>(middle - 1)), code);
    ASSERT_EQ(float_to_bf16(std::bit_cast<float>(middle + 1)), code + 1);
  }
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(0x7f800001U)))));
  EXPECT_EQ(bf16_to_float(float_to_bf16(kInfinity)), kInfinity);
}

TEST(Bf16, DoubleIsRoundedOnceNotThroughFloat) {
  // Just above the middle of two BF16 values, by less than half an fp32 step: through fp32 it would
  // land on the middle and go down to even.
  const double above = 1.0 + 0x1p-8 + 0x1p-40;
  EXPECT_EQ(round_bf16(above), 1.0 + 0x1p-7);
  EXPECT_EQ(round_bf16(1.0 + 0x1p-8), 1.0);
  // Just below the middle above an odd code: through fp32 it would go up to even.
  EXPECT_EQ(round_bf16(1.0 + 0x1p-7 + 0x1p-8 - 0x1p-40), 1.0 + 0x1p-7);
  EXPECT_EQ(round_bf16(-above), -(1.0 + 0x1p-7));
  EXPECT_EQ(round_bf16(1e300), static_cast<double>(kInfinity));
  EXPECT_EQ(round_bf16(1e-300), 0.0);
  EXPECT_TRUE(std::signbit(round_bf16(-1e-300)));
  EXPECT_TRUE(std::isnan(round_bf16(static_cast<double>(kNan))));
  EXPECT_EQ(round_bf16(static_cast<double>(-kInfinity)), static_cast<double>(-kInfinity));
}

TEST(Bf16, DoubleRoundingAgreesWithFloatWhereFloatHoldsTheValue) {
  std::mt19937 random(3);
  for (int i = 0; i < 100000; ++i) {
    const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (!std::isnan(value)) {
      ASSERT_EQ(round_bf16(static_cast<double>(value)), static_cast<double>(round_bf16(value)));
    }
  }
}

}  // namespace
}  // namespace fathom::numeric
