#include "fathom/compute/numeric/weight_encoder.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/compute/numeric/small_floats.h"

namespace fathom::numeric {
namespace {

struct Encoded {
  Encoded(WeightFormat format, ScaleFormat scale_format, Index rows, Index columns)
      : data(to_size(rows * row_bytes(format, columns))),
        scales(to_size(scale_bytes(format, scale_format, rows, columns))),
        out{format, scale_format, rows, columns, data.data(), scales.data()} {}

  std::vector<float> decoded() const {
    std::vector<float> numbers(to_size(out.rows * out.columns));
    for (Index row = 0; row < out.rows; ++row) {
      decode_row(out.view(), row, 0, out.columns, numbers.data() + row * out.columns);
    }
    return numbers;
  }

  std::vector<std::byte> data;
  std::vector<std::byte> scales;
  EncodedRows out;
};

std::vector<float> round_trip(const std::vector<float>& numbers, Encoded encoded) {
  encode_rows(numbers.data(), encoded.out);
  return encoded.decoded();
}

std::vector<float> random_numbers(Index count) {
  std::mt19937 engine(5);
  std::normal_distribution<float> normal(0, 0.02F);
  std::vector<float> numbers(to_size(count));
  for (float& number : numbers) {
    number = normal(engine) * std::exp2(static_cast<float>(engine() % 8));
  }
  return numbers;
}

TEST(WeightEncoder, Fp4HasTheLeastScaleThatClipsNothing) {
  Encoded encoded(WeightFormat::Fp4, ScaleFormat::E8M0, 1, 64);
  std::vector<float> numbers(64);
  numbers[0] = 6;  // scale 1
  numbers[1] = -1.25F;
  numbers[2] = 1.75F;
  numbers[32] = 6.1F;  // scale 2
  numbers[33] = -0.4F;
  encode_rows(numbers.data(), encoded.out);
  EXPECT_EQ(encoded.scales, (std::vector<std::byte>{std::byte{127}, std::byte{128}}));
  EXPECT_EQ(encoded.data[0], std::byte{0xA7});  // low nibble first: 6, then -1 (tie to even)
  EXPECT_EQ(encoded.data[1], std::byte{0x04});  // 1.75 ties to 2
  const std::vector<float> decoded = encoded.decoded();
  EXPECT_EQ(decoded[32], 6.0F);   // 3.05 of scale 2 is nearest to 3
  EXPECT_EQ(decoded[33], -0.0F);  // 0.2 of scale 2 is nearest to 0
}

TEST(WeightEncoder, Fp8HasAScalePerTile) {
  Encoded encoded(WeightFormat::Fp8, ScaleFormat::E8M0, 130, 200);
  std::vector<float> numbers(130 * 200, 0.5F);
  numbers[5] = 448;                // tile 0, 0: scale 1
  numbers[127 * 200 + 128] = 449;  // tile 0, 1: scale 2
  numbers[129 * 200] = -3.5F;      // tile 1, 0: scale 2^-7
  encode_rows(numbers.data(), encoded.out);
  EXPECT_EQ(encoded.scales, (std::vector<std::byte>{std::byte{127}, std::byte{128}, std::byte{120},
                                                    std::byte{118}}));
  EXPECT_EQ(encoded.decoded()[127 * 200 + 128], 448);
  Encoded wide(WeightFormat::Fp8, ScaleFormat::F32, 130, 200);
  encode_rows(numbers.data(), wide.out);
  EXPECT_EQ(wide.scales.size(), 16U);
  EXPECT_EQ(wide.data, encoded.data);
  EXPECT_EQ(wide.decoded(), encoded.decoded());
}

TEST(WeightEncoder, EveryNumberIsTheNearestOneOfItsBlock) {
  const std::vector<float> numbers = random_numbers(256 * 96);
  const std::vector<float> fp4 =
      round_trip(numbers, Encoded(WeightFormat::Fp4, ScaleFormat::E8M0, 256, 96));
  const std::vector<float> fp8 =
      round_trip(numbers, Encoded(WeightFormat::Fp8, ScaleFormat::E8M0, 256, 96));
  for (std::size_t i = 0; i < numbers.size(); i += 32) {
    float largest = 0;
    for (std::size_t k = i; k < i + 32; ++k) {
      largest = std::max(largest, std::abs(numbers[k]));
    }
    const float scale = std::exp2(std::ceil(std::log2(largest / 6)));
    for (std::size_t k = i; k < i + 32; ++k) {
      for (const float value : kE2m1Values) {
        ASSERT_LE(std::abs(fp4[k] - numbers[k]), std::abs(value * scale - numbers[k])) << k;
      }
    }
  }
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    // Three bits behind the leading one, or a multiple of 2^-9 of the scale (2^-5 here at most).
    ASSERT_LE(std::abs(fp8[i] - numbers[i]), std::max(std::abs(numbers[i]) / 16, 0x1p-15F)) << i;
  }
}

TEST(WeightEncoder, WhatWasDecodedIsEncodedToTheSameNumbers) {
  const std::vector<float> numbers = random_numbers(140 * 160);
  for (const WeightFormat format : {WeightFormat::F32, WeightFormat::F16, WeightFormat::BF16,
                                    WeightFormat::Fp8, WeightFormat::Fp4}) {
    ASSERT_TRUE(can_encode(format));
    const std::vector<float> once = round_trip(numbers, {format, ScaleFormat::E8M0, 140, 160});
    EXPECT_EQ(round_trip(once, {format, ScaleFormat::E8M0, 140, 160}), once) << to_string(format);
    EXPECT_EQ(once == numbers, format == WeightFormat::F32) << to_string(format);
  }
  EXPECT_FALSE(can_encode(WeightFormat::Q4_0));
}

TEST(WeightEncoder, ZerosStayZerosAndTinyNumbersFinite) {
  for (const WeightFormat format : {WeightFormat::Fp8, WeightFormat::Fp4}) {
    for (const float number : {0.0F, 1e-38F, -1e-44F}) {
      for (const float decoded :
           round_trip(std::vector<float>(64, number), {format, ScaleFormat::E8M0, 1, 64})) {
        EXPECT_LE(std::abs(decoded), 2e-38F) << number;
      }
    }
  }
}

TEST(WeightEncoder, NumbersThatAreNotFiniteStaySo) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    for (const WeightFormat format :
         {WeightFormat::F32, WeightFormat::BF16, WeightFormat::Fp8, WeightFormat::Fp4}) {
      std::vector<float> numbers(64, 1.0F);
      numbers[3] = bad;
      EXPECT_FALSE(std::isfinite(round_trip(numbers, {format, ScaleFormat::E8M0, 1, 64})[3]))
          << to_string(format) << " " << bad;
    }
  }
}

}  // namespace
}  // namespace fathom::numeric
