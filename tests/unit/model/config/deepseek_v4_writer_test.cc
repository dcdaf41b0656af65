#include <limits>

#include <gtest/gtest.h>

#include "fathom/model/config/read_config.h"

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

using testing::expect_error;

StoragePlan fp4() {
  return storage_plan_from_name("fp4");
}

ParsedConfig read_back(const ModelConfig& config, const StoragePlan& plan) {
  return parse_config_json(make_config_json(config, plan), "written.json");
}

TEST(WriteConfigJson, EveryKnownConfigReadsBackTheSame) {
  std::vector<ModelConfig> configs = {testing::builtin("v4-flash"), testing::builtin("v4-pro")};
  for (const std::string& name : testing::checkpoint_names()) {
    configs.push_back(parse_config_json(testing::checkpoint_config(name), name).model);
  }
  configs.push_back(
      parse_config_json(testing::read_data("transformers/small.config.json"), "small").model);
  for (const ModelConfig& config : configs) {
    for (const std::string_view name : {"fp4", "fp8", "bf16"}) {
      const StoragePlan plan = storage_plan_from_name(name);
      const ParsedConfig parsed = read_back(config, plan);
      EXPECT_EQ(parsed.model, config);
      EXPECT_EQ(parsed.storage, plan) << name;
    }
  }
}

TEST(WriteConfigJson, TextHasTheKeysAndValuesOfThePublishedConfig) {
  const nlohmann::json written =
      nlohmann::json::parse(make_config_json(testing::builtin("v4-flash"), fp4()));
  const nlohmann::json official =
      nlohmann::json::parse(testing::read_data("golden/configs/v4-flash.config.json"));
  for (const auto& [key, value] : official.items()) {
    if (key == "attention_dropout" || key == "initializer_range" || key == "transformers_version" ||
        key == "use_cache") {
      continue;  // of transformers and of training
    }
    ASSERT_TRUE(written.contains(key)) << key;
    EXPECT_EQ(written[key], value) << key;
  }
}

TEST(WriteConfigJson, OddModelsReadBackTheSame) {
  ModelConfig config = testing::builtin("v4-flash");
  std::swap(config.layers[2].router, config.layers[3].router);
  EXPECT_EQ(read_back(config, fp4()).model, config);
  for (LayerConfig& layer : config.layers) {
    layer.swiglu_limit = layer.shared_swiglu_limit = std::numeric_limits<double>::infinity();
  }
  config.mtp_layers.clear();
  config.hyper_epsilon = 1.0 / 3.0;
  config.layers.resize(1);
  config.num_hash_layers = 1;
  EXPECT_EQ(read_back(config, fp4()).model, config);
}

TEST(WriteConfigJson, WhatConfigJsonCannotSayIsRefused) {
  ModelConfig config = testing::builtin("v4-flash");
  config.layers[5].shared_swiglu_limit = 3;
  expect_error([&] { make_config_json(config, fp4()); }, ErrorCode::Unsupported,
               {"swiglu_limit", "layer 5 has 10 and 3"});
  config = testing::builtin("v4-flash");
  config.layers[5].rope.base = 5;
  expect_error([&] { make_config_json(config, fp4()); }, ErrorCode::Unsupported,
               {"compress_rope_theta"});
  config = testing::builtin("v4-flash");
  StoragePlan plan = fp4();
  plan.experts = numeric::WeightFormat::Q4_K;
  expect_error([&] { make_config_json(config, plan); }, ErrorCode::Unsupported, {"expert_dtype"});
  config.layers.clear();
  expect_error([&] { make_config_json(config, fp4()); }, ErrorCode::InvalidArgument,
               {"num_hidden_layers"});
}

}  // namespace
}  // namespace fathom::config
