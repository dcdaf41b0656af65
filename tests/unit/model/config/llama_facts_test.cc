#include "fathom/model/config/llama_facts.h"

#include <gtest/gtest.h>

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

TEST(LlamaFacts, HeadDimensionFollowsFromHeadsThatDivideTheHiddenSize) {
  ModelConfig config;
  config.family = Family::Llama;
  config.hidden_size = 96;
  config.num_heads = 6;
  EXPECT_EQ(default_head_dim(config, Dialect::Gguf, "f"), 16);
  config.num_heads = 7;
  testing::expect_error([&] { default_head_dim(config, Dialect::Gguf, "f"); },
                        ErrorCode::InvalidCheckpoint,
                        {"f: attention.head_count: expected a divisor of embedding_length (96)"});
  config.num_heads = 96;  // one number cannot rotate
  testing::expect_error([&] { default_head_dim(config, Dialect::ConfigJson, "f"); },
                        ErrorCode::InvalidCheckpoint, {"num_attention_heads"});
}

TEST(LlamaFacts, LayersAreAlike) {
  ModelConfig config;
  config.head_dim = 8;
  set_llama_layers(config, 3, {.base = 500, .yarn = std::nullopt});
  EXPECT_EQ(config.rope_dim, 8);
  ASSERT_EQ(config.num_layers(), 3);
  EXPECT_EQ(config.layers[0], config.layers[2]);
  EXPECT_EQ(config.layers[1].rope.base, 500);
}

}  // namespace
}  // namespace fathom::config
