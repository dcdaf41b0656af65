#include <gtest/gtest.h>

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

using testing::expect_error;

ModelConfig smollm2() {
  return parse_config_json(testing::smollm2_config(), "c").model;
}

StoragePlan bf16() {
  return storage_plan_from_name("bf16");
}

void set_rope(ModelConfig& config, const RopeConfig& rope) {
  for (LayerConfig& layer : config.layers) {
    layer.rope = rope;
  }
}

TEST(WriteLlamaJson, ModelsReadBackTheSame) {
  std::vector<ModelConfig> configs = {smollm2(),
                                      parse_config_json(testing::llama_config(), "c").model};
  configs.push_back(smollm2());
  configs.back().is_head_tied = false;
  configs.back().bos_token = ModelConfig::kNoToken;
  configs.back().more_eos_tokens = {8, 9};
  RopeConfig rope = configs.front().layers.front().rope;
  rope.linear_factor = 2.5;
  set_rope(configs.back(), rope);
  configs.push_back(smollm2());
  rope.linear_factor = 1;
  rope.llama3 = {
      .factor = 8, .low_frequency_factor = 1, .high_frequency_factor = 4, .original_context = 2048};
  set_rope(configs.back(), rope);
  for (const ModelConfig& config : configs) {
    for (const std::string_view storage : {"bf16", "f32"}) {
      const StoragePlan plan = storage_plan_from_name(storage);
      const ParsedConfig parsed = parse_config_json(make_config_json(config, plan), "written");
      EXPECT_EQ(parsed.model, config);
      EXPECT_EQ(parsed.storage, plan);
      EXPECT_TRUE(parsed.assumed.empty());
    }
  }
}

TEST(WriteLlamaJson, WhatConfigJsonCannotSayIsRefused) {
  expect_error([] { make_config_json(smollm2(), storage_plan_from_name("fp8")); },
               ErrorCode::Unsupported, {"torch_dtype"});
  ModelConfig other = smollm2();
  other.layers[3].rope.base = 5;
  expect_error([&] { make_config_json(other, bf16()); }, ErrorCode::Unsupported, {"rope_theta"});
  ModelConfig reordered = smollm2();
  RopeConfig rope = reordered.layers.front().rope;
  rope.pairs = RopePairs::Neighbours;
  set_rope(reordered, rope);
  expect_error([&] { make_config_json(reordered, bf16()); }, ErrorCode::Unsupported, {"GGUF"});
}

TEST(WriteLlamaGguf, ScalingThatFilesKeepAsATensorIsRefused) {
  ModelConfig config = smollm2();
  RopeConfig rope = config.layers.front().rope;
  rope.llama3 = {
      .factor = 8, .low_frequency_factor = 1, .high_frequency_factor = 4, .original_context = 2048};
  set_rope(config, rope);
  expect_error([&] { make_gguf_facts(config); }, ErrorCode::Unsupported, {"llama3"});
}

}  // namespace
}  // namespace fathom::config
