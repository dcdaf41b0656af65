#include "fathom/model/weights/synth_values.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <span>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::weights {
namespace {

using config::WeightRole;
using numeric::ScaleFormat;
using numeric::WeightFormat;

TEST(BlockKey, DependsOnSeedTensorAndPosition) {
  std::set<std::uint64_t> keys;
  for (const std::uint64_t seed : {0U, 1U}) {
    for (const char* tensor : {"a", "b", ""}) {
      for (const Index block_idx : {0, 1, 2}) {
        keys.insert(block_key(seed, tensor, block_idx));
      }
    }
  }
  EXPECT_EQ(keys.size(), 18U);
}

// Rows of 1,024 columns drawn with the distribution and decoded again.
std::vector<float> draw(WeightFormat format, ScaleFormat scales, const Distribution& distribution) {
  constexpr Index kRows = 128;
  constexpr Index kColumns = 1024;
  const Index row_bytes = numeric::row_bytes(format, kColumns);
  std::vector<std::byte> data(to_size(kRows * row_bytes));
  std::vector<std::byte> scale_data(to_size(kRows * kColumns / 32 * 4));
  fill_weights({format, scales, kRows, kColumns, data.data(), scale_data.data()}, distribution, 1);
  numeric::WeightView view;
  view.format = format;
  view.rows = kRows;
  view.columns = kColumns;
  view.data = data.data();
  view.row_stride_bytes = row_bytes;
  view.scale_format = scales;
  view.scales = scale_data.data();
  view.scale_row_stride_bytes = (format == WeightFormat::Fp8 ? kColumns / 128 : kColumns / 32) *
                                (scales == ScaleFormat::F32 ? 4 : 1);
  std::vector<float> numbers(to_size(kRows * kColumns));
  for (Index row = 0; row < kRows; ++row) {
    numeric::decode_row(view, row, 0, kColumns, numbers.data() + row * kColumns);
  }
  return numbers;
}

struct Moments {
  double mean;
  double deviation;
};
Moments moments(const std::vector<float>& numbers) {
  double sum = 0;
  double squares = 0;
  for (const float value : numbers) {
    sum += static_cast<double>(value);
    squares += static_cast<double>(value) * static_cast<double>(value);
  }
  const double mean = sum / static_cast<double>(numbers.size());
  return {mean, std::sqrt(squares / static_cast<double>(numbers.size()) - mean * mean)};
}

TEST(FillWeights, EveryFormatHasTheDeviationAskedForWhateverItIs) {
  for (const auto& [format, scales] : std::initializer_list<std::pair<WeightFormat, ScaleFormat>>{
           {WeightFormat::F32, ScaleFormat::None},
           {WeightFormat::F16, ScaleFormat::None},
           {WeightFormat::BF16, ScaleFormat::None},
           {WeightFormat::Fp4, ScaleFormat::E8M0},
           {WeightFormat::Mxfp4, ScaleFormat::None},
           {WeightFormat::Q8_0, ScaleFormat::None}}) {
    ASSERT_TRUE(can_fill(format));
    for (const float spread : {0.015F, 0.02F, 0.03F, 1.0F}) {
      const Moments found =
          moments(draw(format, scales, {Distribution::Kind::Normal, 0.0F, spread}));
      const auto expected = static_cast<double>(spread);
      EXPECT_NEAR(found.deviation, expected, 0.1 * expected) << to_string(format);
      EXPECT_NEAR(found.mean, 0, 0.02 * expected) << to_string(format);
    }
  }
}

TEST(FillWeights, Fp8ScalesAreTheSameNumbersInBothForms) {
  const Distribution distribution{Distribution::Kind::Normal, 0.0F, 0.02F};
  EXPECT_EQ(draw(WeightFormat::Fp8, ScaleFormat::E8M0, distribution),
            draw(WeightFormat::Fp8, ScaleFormat::F32, distribution));
}

TEST(FillWeights, AUniformDistributionStaysInItsInterval) {
  const std::vector<float> numbers =
      draw(WeightFormat::F32, ScaleFormat::None, {Distribution::Kind::Uniform, 0.75F, 0.5F});
  EXPECT_GE(*std::min_element(numbers.begin(), numbers.end()), 0.5F);
  EXPECT_LE(*std::max_element(numbers.begin(), numbers.end()), 1.0F);
  EXPECT_NEAR(moments(numbers).mean, 0.75, 0.01);
}

TEST(InitialDistribution, MatricesAreSmallNormsAreOneAndBiasesZero) {
  const auto of = [](config::WeightRole role, std::vector<Index> shape) {
    config::WeightSpec spec{.key = {.role = role}, .shape = std::move(shape)};
    return initial_distribution_of(spec);
  };
  const auto values = [](const Distribution& distribution) {
    return draw(WeightFormat::F32, ScaleFormat::None, distribution);
  };
  for (const auto role : {WeightRole::Sink, WeightRole::RouterBias, WeightRole::ExpertMixBase}) {
    EXPECT_EQ(values(of(role, {4})), std::vector<float>(128 * 1024, 0.0F));
  }
  EXPECT_EQ(values(of(WeightRole::CompressorPositionBias, {4, 8}))[5], 0.0F);
  for (const auto role : {WeightRole::AttentionNorm, WeightRole::HeadMixScale}) {
    EXPECT_EQ(values(of(role, {4})), std::vector<float>(128 * 1024, 1.0F));
  }
  double squares = 0;
  for (const float value : values(of(WeightRole::ExpertMixFn, {24, 64}))) {
    squares += static_cast<double>(value) * static_cast<double>(value);
  }
  EXPECT_NEAR(std::sqrt(squares / (128 * 1024)), 0.02, 0.0002);
}

TEST(FillIds, RowsAreDistinctAndEveryIdAppears) {
  std::vector<std::int64_t> wide(100 * 4);
  fill_ids(100, 4, 5, 8, 1, std::as_writable_bytes(std::span(wide)).data());
  std::vector<std::int32_t> narrow(100 * 4);
  fill_ids(100, 4, 5, 4, 1, std::as_writable_bytes(std::span(narrow)).data());
  std::set<std::int64_t> seen;
  for (std::size_t row = 0; row < 100; ++row) {
    const std::set<std::int64_t> ids(wide.begin() + static_cast<std::ptrdiff_t>(4 * row),
                                     wide.begin() + static_cast<std::ptrdiff_t>(4 * row + 4));
    EXPECT_EQ(ids.size(), 4U);
    seen.insert(ids.begin(), ids.end());
  }
  EXPECT_EQ(seen, (std::set<std::int64_t>{0, 1, 2, 3, 4}));
  EXPECT_TRUE(std::equal(wide.begin(), wide.end(), narrow.begin()));
}

}  // namespace
}  // namespace fathom::weights
