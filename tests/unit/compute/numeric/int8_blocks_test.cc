#include "fathom/compute/numeric/int8_blocks.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/compute/numeric/small_floats.h"

namespace fathom::numeric {
namespace {

constexpr WeightFormat kWithBlocks[] = {
    WeightFormat::Fp4,  WeightFormat::Mxfp4, WeightFormat::Q4_0, WeightFormat::Q4_1,
    WeightFormat::Q5_0, WeightFormat::Q5_1,  WeightFormat::Q8_0, WeightFormat::IQ4_NL,
};

TEST(Int8Blocks, ExactlyTheListedFormatsHaveThem) {
  Index count = 0;
  for (int i = 0; i <= static_cast<int>(WeightFormat::IQ4_XS); ++i) {
    count += has_int8_blocks(static_cast<WeightFormat>(i)) ? 1 : 0;
  }
  EXPECT_EQ(count, to_index(std::size(kWithBlocks)));
}

TEST(Int8Blocks, CodeTimesScalePlusMinimumIsTheDecodedNumber) {
  std::mt19937 random(3);
  for (const WeightFormat format : kWithBlocks) {
    SCOPED_TRACE(to_string(format));
    std::vector<std::byte> bytes(to_size(2 * row_bytes(format, 96)));
    std::vector<std::byte> scales(6);
    for (int round = 0; round < 200; ++round) {
      for (std::byte& byte : bytes) {
        byte = static_cast<std::byte>(random() & 0x3fU);  // f16 numbers stay finite
      }
      for (std::byte& scale : scales) {
        scale = static_cast<std::byte>(100 + random() % 50);
      }
      WeightView view;
      view.format = format;
      view.rows = 2;
      view.columns = 96;
      view.data = bytes.data();
      view.row_stride_bytes = row_bytes(format, 96);
      if (format == WeightFormat::Fp4) {
        view.scale_format = ScaleFormat::E8M0;
        view.scales = scales.data();
        view.scale_row_stride_bytes = 3;
      }
      for (Index block = 0; block < 3; ++block) {
        Int8Block found;
        read_int8_block(view, 1, block, found);
        float expected[32];
        decode_row(view, 1, 32 * block, 32, expected);
        for (int i = 0; i < 32; ++i) {
          EXPECT_EQ(static_cast<float>(found.codes[i]) * found.scale + found.minimum, expected[i]);
        }
        EXPECT_TRUE(has_int8_minimum(format) || found.minimum == 0.0F);
      }
    }
  }
}

TEST(Int8Blocks, ActivationsAreMultiplesOfAScaleThatSpansThem) {
  float x[32] = {};
  x[3] = -5.0F;
  x[4] = 20.2F;
  x[5] = 0.05F;
  x[6] = 0.25F;
  std::uint8_t codes[32];
  const RoundedBlock block = round_to_int8_block(x, kInt8BlockColumns, codes);
  EXPECT_FLOAT_EQ(block.scale, 0.1F);
  EXPECT_EQ(block.zero, 50);
  EXPECT_EQ(codes[0], 50);  // zero is exact
  EXPECT_EQ(codes[3], 0);
  EXPECT_EQ(codes[4], 252);
  EXPECT_EQ(codes[6] - codes[0], 2);  // 2.5 to even
}

TEST(Int8Blocks, ZeroIsInTheRangeOfNumbersOfOneSign) {
  for (const float sign : {1.0F, -1.0F}) {
    float x[32];
    std::fill_n(x, 32, sign * 25.2F);
    x[5] = sign * 10.0F;
    std::uint8_t codes[32];
    const RoundedBlock block = round_to_int8_block(x, kInt8BlockColumns, codes);
    EXPECT_FLOAT_EQ(block.scale, 0.1F);
    EXPECT_EQ(block.zero, sign > 0 ? 0 : 252);
    EXPECT_EQ(codes[5] - block.zero, sign > 0 ? 100 : -100);
    EXPECT_EQ(codes[0] - block.zero, sign > 0 ? 252 : -252);
  }
}

TEST(Int8Blocks, TheErrorIsAtMostHalfAStep) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal(1.0F);
  for (int round = 0; round < 1000; ++round) {
    float x[32];
    for (float& value : x) {
      value = normal(random);
    }
    std::uint8_t codes[32];
    const RoundedBlock block = round_to_int8_block(x, kInt8BlockColumns, codes);
    for (int i = 0; i < 32; ++i) {
      const float rounded = static_cast<float>(codes[i] - block.zero) * block.scale;
      EXPECT_LE(std::abs(rounded - x[i]), 0.5001F * block.scale);
    }
  }
}

TEST(Int8Blocks, TheSumIsOfTheCodesMinusZeroHoweverMany) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (const Index count : {1, 7, 32, 128}) {
    std::vector<float> x(to_size(count));
    std::generate(x.begin(), x.end(), [&] { return normal(random); });
    std::vector<std::uint8_t> codes(to_size(count));
    const RoundedBlock block = round_to_int8_block(x.data(), count, codes.data());
    std::int32_t sum = 0;
    for (const std::uint8_t code : codes) {
      sum += code - block.zero;
    }
    EXPECT_EQ(block.sum, sum);
  }
}

TEST(Int8Blocks, NumbersAboutZeroBecomeZero) {
  float x[32] = {};
  x[7] = 1e-31F;
  std::uint8_t codes[32];
  const RoundedBlock block = round_to_int8_block(x, kInt8BlockColumns, codes);
  EXPECT_EQ(block.scale, 0.0F);
  EXPECT_EQ(block.zero, 0);
  EXPECT_EQ(codes[7], 0);
}

TEST(Int8Blocks, ANumberThatIsNoneSpoilsItsBlock) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    float x[32] = {1.0F};
    x[31] = bad;
    std::uint8_t codes[32];
    EXPECT_TRUE(std::isnan(round_to_int8_block(x, kInt8BlockColumns, codes).scale));
    EXPECT_EQ(codes[0], 0);
  }
  float x[32] = {3e38F, -3e38F};  // their difference is infinite
  std::uint8_t codes[32];
  EXPECT_TRUE(std::isnan(round_to_int8_block(x, kInt8BlockColumns, codes).scale));
}

}  // namespace
}  // namespace fathom::numeric
