#include "fathom/model/deepseek_v4/weight_names.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/model/weights/checkpoint.h"

namespace fathom::deepseek_v4 {
namespace {

using config::Block;
using config::WeightKey;
using config::WeightRole;
using weights::Dialect;
using weights::TensorName;

const std::string kData = std::string(FATHOM_SOURCE_DIR "/tests/data/");

// Every role, in a layer and in an MTP block that has it all.
std::vector<WeightKey> every_key() {
  config::ModelConfig config;
  config.layers.resize(4);
  config.layers[0].router = config::RouterKind::HashTable;
  config.layers[2].attention = config::AttentionKind::CompressedSparse;
  config.layers[3].attention = config::AttentionKind::HeavilyCompressed;
  config.mtp_layers.resize(1);
  config.num_experts = 2;
  config.num_shared_experts = 1;
  config.num_output_groups = 1;
  std::vector<WeightKey> keys;
  for (const config::WeightSpec& spec : config::weight_table(config)) {
    keys.push_back(spec.key);
  }
  return keys;
}

void expect_meaning(const std::string& name, const WeightKey& key, Index expert_idx = -1) {
  const auto parsed = weight_names().parse(name);
  ASSERT_TRUE(parsed.has_value()) << name;
  EXPECT_EQ(parsed->key, key) << name;
  EXPECT_EQ(parsed->expert_idx, expert_idx) << name;
  EXPECT_FALSE(parsed->is_scale) << name;
}

TEST(WeightNames, EveryNameOfEveryDialectMeansTheRoleItWasMadeFrom) {
  for (const Dialect dialect : {Dialect::Official, Dialect::Transformers, Dialect::Gguf}) {
    for (const WeightKey& key : every_key()) {
      const std::string name = weight_names().name(dialect, key, 17);
      const auto parsed = weight_names().parse(name);
      ASSERT_TRUE(parsed.has_value()) << name;
      EXPECT_EQ(parsed->key.block, key.block) << name;
      EXPECT_EQ(parsed->key.layer_idx, key.layer_idx) << name;
      EXPECT_TRUE(parsed->key.role == key.role || parsed->second_role == key.role) << name;
      EXPECT_FALSE(parsed->is_scale) << name;
      EXPECT_EQ(parsed->expert_idx, name.find(".17.") == std::string::npos ? -1 : 17) << name;
    }
  }
}

TEST(WeightNames, OnlyTransformersGateAndUpShareATensor) {
  for (const Dialect dialect : {Dialect::Official, Dialect::Transformers, Dialect::Gguf}) {
    for (const WeightKey& key : every_key()) {
      const std::string name = weight_names().name(dialect, key, 0);
      const bool is_fused = name.ends_with("mlp.experts.gate_up_proj");
      EXPECT_EQ(weight_names().parse(name)->second_role.has_value(), is_fused) << name;
    }
  }
  const auto fused = weight_names().parse("model.layers.3.mlp.experts.gate_up_proj");
  ASSERT_TRUE(fused.has_value());
  EXPECT_EQ(fused->key.role, WeightRole::ExpertGate);  // the gate has the first rows
  EXPECT_EQ(fused->second_role, WeightRole::ExpertUp);
}

TEST(WeightNames, OfficialNamesOfTheSpecification) {
  expect_meaning("embed.weight", {WeightRole::Embedding});
  expect_meaning("hc_head_scale", {WeightRole::HeadMixScale});
  expect_meaning("layers.7.attn.wkv.weight", {WeightRole::KeyValue, Block::Layer, 7});
  expect_meaning("layers.2.attn.indexer.compressor.ape",
                 {WeightRole::IndexerPositionBias, Block::Layer, 2});
  expect_meaning("layers.60.ffn.experts.383.w2.weight", {WeightRole::ExpertDown, Block::Layer, 60},
                 383);
  expect_meaning("layers.1.ffn.shared_experts.w3.weight", {WeightRole::SharedUp, Block::Layer, 1});
  expect_meaning("mtp.0.norm.weight", {WeightRole::FinalNorm, Block::Mtp, 0});
  expect_meaning("mtp.0.hc_head_fn", {WeightRole::HeadMixFn, Block::Mtp, 0});
  expect_meaning("mtp.0.ffn.gate.bias", {WeightRole::RouterBias, Block::Mtp, 0});
}

TEST(WeightNames, TheOfficialConvertersToleranceIsOurs) {
  expect_meaning("model.embed_tokens.weight", {WeightRole::Embedding});
  expect_meaning("model.layers.4.self_attn.q_a_proj.weight",
                 {WeightRole::QueryDown, Block::Layer, 4});
  expect_meaning("layers.4.self_attn.wq_a.weight", {WeightRole::QueryDown, Block::Layer, 4});
  expect_meaning("layers.4.attn.q_a_layernorm.weight", {WeightRole::QueryNorm, Block::Layer, 4});
  expect_meaning("layers.4.mlp.experts.9.up_proj.weight", {WeightRole::ExpertUp, Block::Layer, 4},
                 9);
  expect_meaning("layers.4.ffn.gate.e_score_correction_bias",
                 {WeightRole::RouterBias, Block::Layer, 4});
  expect_meaning("layers.4.attn.compressor.position_bias",
                 {WeightRole::CompressorPositionBias, Block::Layer, 4});
}

TEST(WeightNames, TransformersNamesOfSeveralReleases) {
  expect_meaning("model.layers.1.attn.norm.weight", {WeightRole::KeyValueNorm, Block::Layer, 1});
  expect_meaning("model.layers.1.self_attn.compressor.indexer.weights_proj.weight",
                 {WeightRole::IndexerHeadWeights, Block::Layer, 1});
  expect_meaning("model.layers.1.self_attn.compressor.indexer.scorer.weights_proj.weight",
                 {WeightRole::IndexerHeadWeights, Block::Layer, 1});
  expect_meaning("model.layers.1.self_attn.compressor.gate_proj.weight",
                 {WeightRole::CompressorGate, Block::Layer, 1});
  expect_meaning("model.layers.1.attn_hc.scale", {WeightRole::AttentionMixScale, Block::Layer, 1});
  expect_meaning("lm_head.weight", {WeightRole::Head});
}

TEST(WeightNames, GgufNamesWithDs4sMtpFile) {
  expect_meaning("blk.3.indexer_compressor_gate.weight",
                 {WeightRole::IndexerGate, Block::Layer, 3});
  expect_meaning("blk.3.exp_probs_b.bias", {WeightRole::RouterBias, Block::Layer, 3});
  expect_meaning("mtp.0.attn_q_a.weight", {WeightRole::QueryDown, Block::Mtp, 0});
  expect_meaning("mtp.0.hc_head_base.weight", {WeightRole::HeadMixBase, Block::Mtp, 0});
  expect_meaning("mtp.0.ffn_gate_exps.weight", {WeightRole::ExpertGate, Block::Mtp, 0});
}

TEST(WeightNames, ScalesAreFoundUnderEverySpelling) {
  const WeightKey key{WeightRole::KeyValue, Block::Layer, 5};
  for (const std::string name :
       {"layers.5.attn.wkv.scale", "model.layers.5.self_attn.kv_proj.weight_scale_inv",
        "layers.5.attn.wkv.weight_scale"}) {
    const auto parsed = weight_names().parse(name);
    ASSERT_TRUE(parsed.has_value()) << name;
    EXPECT_TRUE(parsed->is_scale) << name;
    EXPECT_EQ(parsed->key, key) << name;
  }
  const auto fused = weight_names().parse("model.layers.5.mlp.experts.gate_up_proj_scale_inv");
  ASSERT_TRUE(fused.has_value());
  EXPECT_TRUE(fused->is_scale);
  EXPECT_EQ(weight_names().scale_name("layers.5.attn.wkv.weight"), "layers.5.attn.wkv.scale");
}

TEST(WeightNames, StrangersAreNotParsed) {
  for (const std::string name :
       {"", "layers", "layers.", "layers.x.attn.wkv.weight", "layers.-1.attn.wkv.weight",
        "layers.1attn.wkv.weight", "layers.1.attn.wkv", "mtp.0.embed.weight", "mtp.0.head.weight",
        "e_proj.weight", "layers.0.e_proj.weight", "vision.embed.weight",
        "layers.99999999999999999999.attn.wkv.weight"}) {
    EXPECT_FALSE(weight_names().parse(name).has_value()) << name;
  }
}

TEST(WeightNames, DuplicatesAndRopeTablesAreIgnoredAndNothingElse) {
  for (const std::string name :
       {"mtp.0.emb.tok_emb.weight", "mtp.0.head.weight", "rope_freqs.weight",
        "model.layers.0.self_attn.rotary_emb.inv_freq"}) {
    EXPECT_TRUE(weight_names().is_ignored(name)) << name;
  }
  for (const std::string name :
       {"layers.0.attn.extra.weight", "vision.embed.weight", "head2.weight"}) {
    EXPECT_FALSE(weight_names().is_ignored(name)) << name;
  }
}

TEST(WeightNames, EveryTensorOfTheOfficialAndTheTransformersCheckpointsHasAMeaning) {
  for (const std::string folder :
       {"golden/checkpoints/flash-tiny", "golden/checkpoints/pro-tiny",
        "golden/checkpoints/bf16-tiny", "golden/checkpoints/base-fp8-tiny",
        "golden/checkpoints/trained-bytes", "transformers-tiny"}) {
    const auto checkpoint = weights::Checkpoint::open(kData + folder);
    for (const auto& [name, tensor] : checkpoint->tensors()) {
      EXPECT_TRUE(weight_names().parse(name).has_value()) << folder << ": " << name;
    }
  }
}

}  // namespace
}  // namespace fathom::deepseek_v4
