#include "fathom/model/config/footprint.h"

#include <gtest/gtest.h>

#include "fathom/model/config/cache_layout.h"

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

using testing::builtin;

Index attention_elements(const ModelConfig& config, Index layer_idx) {
  Index elements = 0;
  for (const WeightSpec& spec : weight_table(config)) {
    if (spec.key.block == Block::Layer && spec.key.layer_idx == layer_idx &&
        spec.key.role >= WeightRole::QueryDown && spec.key.role <= WeightRole::IndexerNorm) {
      elements += spec.num_elements();
    }
  }
  return elements;
}

void expect_near_relative(double found, double expected, double relative) {
  EXPECT_TRUE(std::abs(found - expected) <= relative * expected) << found << " is not " << expected;
}

TEST(Footprint, ParametersOfFlashAreThoseOfTheSpecification) {
  const ParameterCount count = count_parameters(builtin("v4-flash"));
  EXPECT_EQ(count.total, 284332240471);
  EXPECT_EQ(count.mtp, 6610048891);
  EXPECT_EQ(count.active, 12740501074 + 529530880);  // the layers and the head
}

TEST(Footprint, ParametersOfProAreThoseOfTheSpecification) {
  const ParameterCount count = count_parameters(builtin("v4-pro"));
  EXPECT_EQ(count.total, 1572997201763);
  EXPECT_EQ(count.mtp, 25840145979);
  EXPECT_EQ(count.active, 47925601118 + 926679040);
}

TEST(Footprint, AttentionOfEachKindHasTheParametersOfTheSpecification) {
  const ModelConfig flash = builtin("v4-flash");
  EXPECT_EQ(attention_elements(flash, 0), 106956352);
  EXPECT_EQ(attention_elements(flash, 2), 126098624);
  EXPECT_EQ(attention_elements(flash, 3), 111216704);
  const ModelConfig pro = builtin("v4-pro");
  EXPECT_EQ(attention_elements(pro, 0), 307300992);
  EXPECT_EQ(attention_elements(pro, 2), 331292416);
}

TEST(Footprint, CheckpointBytesAreThoseOfThePublishedFiles) {
  const StoragePlan fp4 = storage_plan_from_name("fp4");
  const WeightBytes flash = weight_bytes(builtin("v4-flash"), fp4);
  expect_near_relative(static_cast<double>(flash.total() - flash.mtp), 156.0e9, 0.0005);
  expect_near_relative(static_cast<double>(flash.mtp), 3.6e9, 0.015);
  const WeightBytes pro = weight_bytes(builtin("v4-pro"), fp4);
  expect_near_relative(static_cast<double>(pro.total() - pro.mtp), 850.8e9, 0.0001);
  expect_near_relative(static_cast<double>(pro.mtp), 13.9e9, 0.005);
}

TEST(Footprint, OneExpertInFp4HasTheBytesOfTheSpecification) {
  const auto expert_bytes = [](const ModelConfig& config) {
    const WeightBytes bytes = weight_bytes(config, storage_plan_from_name("fp4"));
    return static_cast<double>(bytes.experts) /
           static_cast<double>(config.num_layers() * config.num_experts);
  };
  expect_near_relative(expert_bytes(builtin("v4-flash")), 13.37e6, 0.0005);
  expect_near_relative(expert_bytes(builtin("v4-pro")), 35.10e6, 0.0005);
}

TEST(Footprint, GroupsOfWeightsAddUpToEveryTensor) {
  const ModelConfig config = builtin("v4-flash");
  for (const std::string_view name : {"fp4", "fp8", "bf16"}) {
    const StoragePlan plan = storage_plan_from_name(name);
    Index sum = 0;
    for (const WeightSpec& spec : weight_table(config)) {
      sum += stored_bytes(spec, plan);
    }
    EXPECT_EQ(weight_bytes(config, plan).total(), sum) << name;
  }
}

TEST(Footprint, WeightsReadPerDecodedTokenAreThoseOfTheSpecification) {
  const StoragePlan fp4 = storage_plan_from_name("fp4");
  expect_near_relative(static_cast<double>(decode_weight_bytes_per_token(builtin("v4-flash"), fp4)),
                       11.2e9, 0.01);
  expect_near_relative(static_cast<double>(decode_weight_bytes_per_token(builtin("v4-pro"), fp4)),
                       39.7e9, 0.01);
}

TEST(Footprint, StoredBytesCountPartialTilesAndGroups) {
  WeightSpec spec;
  spec.key = {.role = WeightRole::QueryDown};
  spec.shape = {129, 200};
  spec.storage = StorageClass::Dense;
  EXPECT_EQ(stored_bytes(spec, storage_plan_from_name("bf16")), 129 * 200 * 2);
  EXPECT_EQ(stored_bytes(spec, storage_plan_from_name("fp4")), 129 * 200 + 2 * 2);
  EXPECT_EQ(stored_bytes(spec, storage_plan_from_name("fp8")), 129 * 200 + 4 * 2 * 2);
  spec.storage = StorageClass::Expert;
  spec.num_experts = 3;
  EXPECT_EQ(stored_bytes(spec, storage_plan_from_name("fp8")), 3 * (129 * 200 + 16));
  spec.shape = {129, 192};
  EXPECT_EQ(stored_bytes(spec, storage_plan_from_name("fp4")), 3 * 129 * (96 + 6));
  spec.num_experts = 0;
  spec.shape = {7};
  spec.storage = StorageClass::Float32;
  EXPECT_EQ(stored_bytes(spec, storage_plan_from_name("fp4")), 28);
  spec.shape = {10, 6};
  spec.storage = StorageClass::TokenIds;
  EXPECT_EQ(stored_bytes(spec, storage_plan_from_name("fp4")), 480);
}

TEST(Footprint, PackedCacheBytesPerTokenAreThoseOfTheSpecification) {
  EXPECT_DOUBLE_EQ(packed_cache_bytes_per_token(builtin("v4-flash")), 3514.25);
  EXPECT_DOUBLE_EQ(packed_cache_bytes_per_token(builtin("v4-pro")), 30 * 163 + 31 * 4.5625);
}

TEST(Footprint, PackedCacheBytesAreThoseOfTheTable) {
  struct Row {
    Index num_tokens;
    double flash;
    double pro;
    double tolerance;  // half a unit of the table's last digit
  };
  for (const Row& row : {Row{4096, 29.8e6, 43.9e6, 0.05e6}, Row{131072, 476e6, 683e6, 0.5e6},
                         Row{1048576, 3.70e9, 5.30e9, 0.005e9}}) {
    EXPECT_NEAR(static_cast<double>(packed_cache_bytes(builtin("v4-flash"), row.num_tokens)),
                row.flash, row.tolerance);
    EXPECT_NEAR(static_cast<double>(packed_cache_bytes(builtin("v4-pro"), row.num_tokens)), row.pro,
                row.tolerance);
  }
}

TEST(Footprint, CacheBytesFollowTheStreams) {
  const ModelConfig config =
      parse_config_json(testing::checkpoint_config("flash-tiny"), "config.json").model;
  // Layers: window, window, CSA, HCA; head_dim 128, index_head_dim 64, window 128.
  EXPECT_EQ(cache_bytes(config, 0, kFp32Cache), 0);
  // One token: a window row each; inputs of CSA (2 x 256) and its indexer (2 x 128), and of HCA.
  EXPECT_EQ(cache_bytes(config, 1, kFp32Cache), 4 * (4 * 128 + 512 + 256 + 256));
  // 130 tokens: 127 window rows; CSA has 32 blocks and rows 124..129 of input; HCA one block and
  // two.
  const Index csa = 32 * (128 + 64) + 6 * (512 + 256);
  const Index hca = 128 + 2 * 256;
  EXPECT_EQ(cache_bytes(config, 130, kFp32Cache), 4 * (4 * 127 * 128 + csa + hca));
  EXPECT_EQ(cache_bytes(config, 130, kDoubleCache), 2 * cache_bytes(config, 130, kFp32Cache));
  EXPECT_EQ(mtp_cache_bytes(config, 130, kFp32Cache), 4 * 127 * 128);
  EXPECT_EQ(raw_row_bytes_per_token(config, kFp32Cache), 4 * (4 * 128 + 512 + 256 + 256));
  // Growth over one block of either kind, where every window is full.
  EXPECT_DOUBLE_EQ(cache_bytes_per_token(config, kFp32Cache) * 128,
                   static_cast<double>(cache_bytes(config, 1152, kFp32Cache) -
                                       cache_bytes(config, 1024, kFp32Cache)));
}

TEST(Footprint, SmolLm2HasItsParametersAndATiedHeadIsReadPerToken) {
  const ModelConfig config = parse_config_json(testing::smollm2_config(), "c").model;
  const Index layer = 576 * (2 * 576 + 2 * 192) + 3 * 576 * 1536 + 2 * 576;
  EXPECT_EQ(count_parameters(config).total, 49152 * 576 + 30 * layer + 576);
  const StoragePlan plan = storage_plan_from_name("bf16");
  const WeightBytes bytes = weight_bytes(config, plan);
  EXPECT_EQ(bytes.mlp, 30 * 3 * 576 * 1536 * 2);
  EXPECT_EQ(bytes.head, 0);
  EXPECT_EQ(decode_weight_bytes_per_token(config, plan), bytes.total());
  ModelConfig untied = config;
  untied.is_head_tied = false;
  EXPECT_EQ(decode_weight_bytes_per_token(untied, plan), bytes.total() + 576 * 2);
}

TEST(Footprint, GroupedRowsAreHeldForEveryTokenAndNoneOfThemIsRaw) {
  const ModelConfig config = parse_config_json(testing::smollm2_config(), "c").model;
  const Index row = 30 * 2 * 192;
  EXPECT_EQ(cache_bytes(config, 1000, kFp32Cache), 1000 * row * 4);
  EXPECT_DOUBLE_EQ(cache_bytes_per_token(config, kFp32Cache), static_cast<double>(row * 4));
  EXPECT_EQ(raw_row_bytes_per_token(config, kFp32Cache), 0);
  EXPECT_EQ(packed_cache_bytes(config, 1000), 1000 * row * 2);
}

TEST(Footprint, StepOfOneSequenceReadsWhatOneTokenReads) {
  const ModelConfig config = builtin("v4-flash");
  const StoragePlan plan = storage_plan_from_name("fp4");
  const auto bytes_of = [&](const WeightSpec& spec) { return stored_bytes(spec, plan); };
  const std::vector<double> chosen(to_size(config.num_layers()),
                                   static_cast<double>(config.num_experts_per_token));
  const double one = decode_weight_bytes_per_step(config, bytes_of, 1, chosen);
  expect_near_relative(one, static_cast<double>(decode_weight_bytes_per_token(config, plan)), 1e-9);
  // Four sequences that chose the same experts read only more rows of tables.
  const double four = decode_weight_bytes_per_step(config, bytes_of, 4, chosen);
  EXPECT_GT(four, one);
  expect_near_relative(four, one, 1e-4);
  // Twice as many experts are so many bytes more.
  std::vector<double> twice = chosen;
  for (double& count : twice) {
    count *= 2;
  }
  const auto per_expert = static_cast<double>(weight_bytes(config, plan).experts) /
                          static_cast<double>(config.num_experts);
  expect_near_relative(decode_weight_bytes_per_step(config, bytes_of, 1, twice),
                       one + per_expert * static_cast<double>(config.num_experts_per_token), 1e-9);
}

TEST(Footprint, ProductsPerTokenAreTheActiveParametersOfMatrices) {
  for (const char* name : {"v4-flash", "v4-pro"}) {
    const ModelConfig config = builtin(name);
    Index others = 0;    // norms, biases, sinks, position biases
    Index head_mix = 0;  // a matrix outside of the layers, not the head itself
    for (const WeightSpec& spec : weight_table(config)) {
      const bool is_bias = spec.key.role == WeightRole::CompressorPositionBias ||
                           spec.key.role == WeightRole::IndexerPositionBias;
      if (spec.key.block == Block::Layer && spec.storage != StorageClass::TokenIds &&
          (is_bias || spec.shape.size() == 1)) {
        others += spec.num_elements();
      }
      head_mix += spec.key.block == Block::Model && spec.key.role == WeightRole::HeadMixFn
                      ? spec.num_elements()
                      : 0;
    }
    EXPECT_EQ(multiply_adds_per_token(config) - head_mix + others, count_parameters(config).active);
    EXPECT_GT(others, 0);
  }
}

}  // namespace
}  // namespace fathom::config
