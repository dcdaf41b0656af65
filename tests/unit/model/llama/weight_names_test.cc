#include "fathom/model/llama/weight_names.h"

#include <gtest/gtest.h>

#include "fathom/model/config/read_config.h"
#include "fathom/model/config/weight_table.h"

#include "tests/unit/model/config/config_testing.h"

namespace fathom::llama {
namespace {

using config::Block;
using config::WeightKey;
using config::WeightRole;
using weights::Dialect;

config::ModelConfig with_every_tensor() {
  config::ModelConfig config =
      config::parse_config_json(config::testing::smollm2_config(), "c").model;
  config.is_head_tied = false;
  config.has_rope_divisors = true;
  return config;
}

TEST(LlamaWeightNames, EveryTensorOfTheTableComesBackFromItsName) {
  for (const config::WeightSpec& spec : config::weight_table(with_every_tensor())) {
    for (const Dialect dialect : {Dialect::Official, Dialect::Transformers, Dialect::Gguf}) {
      const std::string name = weight_names().name(dialect, spec.key, 0);
      const auto parsed = weight_names().parse(name);
      ASSERT_TRUE(parsed.has_value()) << name;
      EXPECT_EQ(parsed->key, spec.key) << name;
      EXPECT_FALSE(parsed->is_scale);
    }
  }
}

TEST(LlamaWeightNames, NamesAreThoseOfTransformersAndLlamaCpp) {
  const WeightKey query{WeightRole::Query, Block::Layer, 12};
  EXPECT_EQ(weight_names().name(Dialect::Official, query, 0),
            "model.layers.12.self_attn.q_proj.weight");
  EXPECT_EQ(weight_names().name(Dialect::Gguf, query, 0), "blk.12.attn_q.weight");
  EXPECT_EQ(weight_names().name(Dialect::Gguf, {WeightRole::Embedding}, 0), "token_embd.weight");
  EXPECT_EQ(weight_names().name(Dialect::Official, {WeightRole::Head}, 0), "lm_head.weight");
  EXPECT_EQ(weight_names().parse("blk.0.ffn_up.weight")->dialect, Dialect::Gguf);
  EXPECT_EQ(weight_names().parse("model.norm.weight")->dialect, Dialect::Official);
}

TEST(LlamaWeightNames, OtherNamesAreUnknownAndOldTablesIgnored) {
  for (const char* name :
       {"", "model.layers.x.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.bias", "blk.1.",
        "model.layers.1.lm_head.weight", "input_layernorm.weight", "blk.0.attn_q.bias"}) {
    EXPECT_FALSE(weight_names().parse(name).has_value()) << name;
  }
  EXPECT_TRUE(weight_names().is_ignored("model.layers.0.self_attn.rotary_emb.inv_freq"));
  EXPECT_FALSE(weight_names().is_ignored("blk.0.attn_q.bias"));
}

}  // namespace
}  // namespace fathom::llama
