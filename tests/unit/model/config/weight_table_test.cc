#include "fathom/model/config/weight_table.h"

#include <set>

#include <gtest/gtest.h>

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

using Shape = std::vector<Index>;
using testing::builtin;

const WeightSpec* find(const std::vector<WeightSpec>& table, const WeightKey& key) {
  for (const WeightSpec& spec : table) {
    if (spec.key == key) {
      return &spec;
    }
  }
  return nullptr;
}

TEST(WeightTable, EveryRoleHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (int role = 0; role <= static_cast<int>(WeightRole::MlpDown); ++role) {
    EXPECT_TRUE(names.insert(to_string(static_cast<WeightRole>(role))).second) << role;
  }
}

TEST(WeightTable, NoTensorIsListedTwice) {
  std::set<WeightKey> keys;
  for (const WeightSpec& spec : weight_table(builtin("v4-pro"))) {
    EXPECT_TRUE(keys.insert(spec.key).second) << to_string(spec.key.role) << spec.key.layer_idx;
  }
}

struct Row {
  WeightRole role;
  Block block;
  Index layer_idx;
  Shape shape;
  Index num_experts;
  StorageClass storage;
};

TEST(WeightTable, ShapesOfFlashAreThoseOfTheOfficialFiles) {
  const std::vector<WeightSpec> table = weight_table(builtin("v4-flash"));
  using R = WeightRole;
  using S = StorageClass;
  const std::vector<Row> rows = {
      {R::Embedding, Block::Model, -1, {129280, 4096}, 0, S::Plain},
      {R::HeadMixFn, Block::Model, -1, {4, 16384}, 0, S::Float32},
      {R::HeadMixScale, Block::Model, -1, {1}, 0, S::Float32},
      {R::AttentionMixFn, Block::Layer, 0, {24, 16384}, 0, S::Float32},
      {R::AttentionMixScale, Block::Layer, 0, {3}, 0, S::Float32},
      {R::QueryDown, Block::Layer, 0, {1024, 4096}, 0, S::Dense},
      {R::QueryUp, Block::Layer, 0, {32768, 1024}, 0, S::Dense},
      {R::KeyValue, Block::Layer, 0, {512, 4096}, 0, S::Dense},
      {R::OutputDown, Block::Layer, 0, {8192, 4096}, 0, S::Dense},
      {R::OutputUp, Block::Layer, 0, {4096, 8192}, 0, S::Dense},
      {R::Sink, Block::Layer, 0, {64}, 0, S::Float32},
      {R::CompressorPositionBias, Block::Layer, 2, {4, 1024}, 0, S::Float32},
      {R::CompressorValue, Block::Layer, 2, {1024, 4096}, 0, S::Bf16},
      {R::CompressorNorm, Block::Layer, 2, {512}, 0, S::Bf16},
      {R::IndexerQueryUp, Block::Layer, 2, {8192, 1024}, 0, S::Dense},
      {R::IndexerHeadWeights, Block::Layer, 2, {64, 4096}, 0, S::Bf16},
      {R::IndexerPositionBias, Block::Layer, 2, {4, 256}, 0, S::Float32},
      {R::IndexerGate, Block::Layer, 2, {256, 4096}, 0, S::Bf16},
      {R::IndexerNorm, Block::Layer, 2, {128}, 0, S::Bf16},
      {R::CompressorPositionBias, Block::Layer, 3, {128, 512}, 0, S::Float32},
      {R::CompressorGate, Block::Layer, 3, {512, 4096}, 0, S::Bf16},
      {R::RouterWeight, Block::Layer, 0, {256, 4096}, 0, S::Bf16},
      {R::RouterTable, Block::Layer, 2, {129280, 6}, 0, S::TokenIds},
      {R::RouterBias, Block::Layer, 3, {256}, 0, S::Float32},
      {R::ExpertGate, Block::Layer, 42, {2048, 4096}, 256, S::Expert},
      {R::ExpertDown, Block::Layer, 42, {4096, 2048}, 256, S::Expert},
      {R::SharedUp, Block::Layer, 42, {2048, 4096}, 0, S::Dense},
      {R::MtpHiddenProjection, Block::Mtp, 0, {4096, 4096}, 0, S::Dense},
      {R::MtpEmbeddingNorm, Block::Mtp, 0, {4096}, 0, S::Bf16},
      {R::FinalNorm, Block::Mtp, 0, {4096}, 0, S::Bf16},
      {R::HeadMixBase, Block::Mtp, 0, {4}, 0, S::Float32},
      {R::RouterBias, Block::Mtp, 0, {256}, 0, S::Float32},
      {R::ExpertUp, Block::Mtp, 0, {2048, 4096}, 256, S::Expert},
  };
  for (const Row& row : rows) {
    const WeightSpec* spec =
        find(table, {.role = row.role, .block = row.block, .layer_idx = row.layer_idx});
    ASSERT_NE(spec, nullptr) << to_string(row.role) << " " << row.layer_idx;
    EXPECT_EQ(spec->shape, row.shape) << to_string(row.role);
    EXPECT_EQ(spec->num_experts, row.num_experts) << to_string(row.role);
    EXPECT_EQ(spec->storage, row.storage) << to_string(row.role);
  }
}

TEST(WeightTable, TensorsOfOtherLayerKindsAreAbsent) {
  const std::vector<WeightSpec> table = weight_table(builtin("v4-flash"));
  using R = WeightRole;
  const std::vector<WeightKey> absent = {
      {.role = R::CompressorValue, .block = Block::Layer, .layer_idx = 0},
      {.role = R::IndexerQueryUp, .block = Block::Layer, .layer_idx = 3},
      {.role = R::RouterBias, .block = Block::Layer, .layer_idx = 2},
      {.role = R::RouterTable, .block = Block::Layer, .layer_idx = 3},
      {.role = R::RouterTable, .block = Block::Mtp, .layer_idx = 0},
      {.role = R::CompressorValue, .block = Block::Mtp, .layer_idx = 0},
      {.role = R::Embedding, .block = Block::Mtp, .layer_idx = 0},
      {.role = R::FinalNorm, .block = Block::Layer, .layer_idx = 0},
  };
  for (const WeightKey& key : absent) {
    EXPECT_EQ(find(table, key), nullptr) << to_string(key.role) << " " << key.layer_idx;
  }
}

TEST(WeightTable, OnlyRouterBiasAndTableAreNotTrained) {
  for (const WeightSpec& spec : weight_table(builtin("v4-flash"))) {
    const bool is_fixed =
        spec.key.role == WeightRole::RouterBias || spec.key.role == WeightRole::RouterTable;
    EXPECT_EQ(spec.is_trainable, !is_fixed) << to_string(spec.key.role);
  }
}

TEST(WeightTable, MatricesThatFollowEachOtherAreShardedAlongTheSharedExtent) {
  const std::vector<WeightSpec> table = weight_table(builtin("v4-flash"));
  const auto axis = [&](WeightRole role) {
    return find(table, {.role = role, .block = Block::Layer, .layer_idx = 2})->shard_axis;
  };
  EXPECT_EQ(axis(WeightRole::QueryUp), ShardAxis::Rows);
  EXPECT_EQ(axis(WeightRole::OutputDown), ShardAxis::Rows);
  EXPECT_EQ(axis(WeightRole::OutputUp), ShardAxis::Columns);
  EXPECT_EQ(axis(WeightRole::SharedGate), ShardAxis::Rows);
  EXPECT_EQ(axis(WeightRole::SharedDown), ShardAxis::Columns);
  EXPECT_EQ(axis(WeightRole::ExpertDown), ShardAxis::Experts);
  EXPECT_EQ(axis(WeightRole::KeyValue), ShardAxis::None);
}

TEST(WeightTable, SharedExpertsAreOneWiderExpert) {
  ModelConfig config = builtin("v4-flash");
  config.num_shared_experts = 3;
  const std::vector<WeightSpec> table = weight_table(config);
  const WeightKey key{.role = WeightRole::SharedDown, .block = Block::Layer, .layer_idx = 0};
  EXPECT_EQ(find(table, key)->shape, (Shape{4096, 3 * 2048}));
}

TEST(WeightTable, LlamaHasMatricesOfGroupedHeadsAndADenseMlp) {
  const ModelConfig config = parse_config_json(testing::smollm2_config(), "c").model;
  const std::vector<WeightSpec> table = weight_table(config);
  using R = WeightRole;
  EXPECT_EQ(table.size(), 2U + 30 * 9);
  const std::vector<std::pair<R, Shape>> rows = {
      {R::Query, {576, 576}},    {R::Key, {192, 576}},       {R::Value, {192, 576}},
      {R::Output, {576, 576}},   {R::MlpGate, {1536, 576}},  {R::MlpUp, {1536, 576}},
      {R::MlpDown, {576, 1536}}, {R::FeedForwardNorm, {576}}};
  for (const auto& [role, shape] : rows) {
    const WeightSpec* spec = find(table, {role, Block::Layer, 29});
    ASSERT_NE(spec, nullptr) << to_string(role);
    EXPECT_EQ(spec->shape, shape) << to_string(role);
  }
  EXPECT_EQ(find(table, {R::Head}), nullptr);  // tied
  EXPECT_EQ(find(table, {R::AttentionMixFn, Block::Layer, 0}), nullptr);
  ModelConfig untied = config;
  untied.is_head_tied = false;
  untied.has_rope_divisors = true;
  const std::vector<WeightSpec> more = weight_table(untied);
  ASSERT_NE(find(more, {R::Head}), nullptr);
  ASSERT_NE(find(more, {R::RopeDivisors}), nullptr);
  EXPECT_EQ(find(more, {R::RopeDivisors})->shape, Shape{32});
}

}  // namespace
}  // namespace fathom::config
