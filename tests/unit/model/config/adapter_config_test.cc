#include "fathom/model/config/adapter_config.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::config {
namespace {

// What PyPI peft 0.18 writes, shortened.
constexpr const char* kPeft = R"({
  "alora_invocation_tokens": null, "alpha_pattern": {"down_proj": 4}, "arrow_config": null,
  "base_model_name_or_path": "some/model", "bias": "none", "corda_config": null,
  "ensure_weight_tying": false, "fan_in_fan_out": false, "inference_mode": true,
  "init_lora_weights": true, "layer_replication": null, "lora_alpha": 16, "lora_bias": false,
  "lora_dropout": 0.05, "modules_to_save": null, "peft_type": "LORA", "r": 8,
  "rank_pattern": {"layers.1.self_attn.q_proj": 2}, "target_modules": ["q_proj", "down_proj"],
  "target_parameters": null, "task_type": "CAUSAL_LM", "use_dora": false, "use_qalora": false,
  "use_rslora": false})";

AdapterConfig parse(const std::string& json) {
  return parse_adapter_config(json, "adapter_config.json");
}

// The text with one key replaced or added.
std::string with(const std::string& key, const std::string& value) {
  std::string text = kPeft;
  const std::size_t at = text.find("\"" + key + "\":");
  if (at != std::string::npos) {
    const std::size_t next = std::min(text.find(", \"", at), text.find(",\n", at));
    const std::size_t end = next == std::string::npos ? text.rfind('}') : next;
    return text.replace(at, end - at, "\"" + key + "\": " + value);
  }
  return text.insert(1, "\"" + key + "\": " + value + ", ");
}

TEST(AdapterConfig, SaysRankAndScaleOfEveryModule) {
  const AdapterConfig config = parse(kPeft);
  EXPECT_EQ(config.base_model, "some/model");
  EXPECT_EQ(config.rank_of("model.layers.0.self_attn.q_proj"), 8);
  EXPECT_EQ(config.rank_of("model.layers.1.self_attn.q_proj"), 2);
  EXPECT_EQ(config.rank_of("model.layers.11.self_attn.q_proj"), 8);
  EXPECT_EQ(config.scale_of("model.layers.0.self_attn.q_proj", 8), 2);
  EXPECT_EQ(config.scale_of("model.layers.0.mlp.down_proj", 8), 0.5);
  EXPECT_EQ(config.scale_of("model.layers.0.mlp.up_down_proj", 8), 2);
}

TEST(AdapterConfig, RootScaleDividesByTheRootOfTheRank) {
  EXPECT_DOUBLE_EQ(parse(with("use_rslora", "true")).scale_of("q", 16), 4);
}

TEST(AdapterConfig, WhatComputesSomethingElseIsRefusedByName) {
  for (const auto& [key, value] : {std::pair("use_dora", "true"),
                                   {"fan_in_fan_out", "true"},
                                   {"bias", "\"all\""},
                                   {"lora_bias", "true"},
                                   {"modules_to_save", "[\"lm_head\"]"},
                                   {"layer_replication", "[[0, 4]]"},
                                   {"target_parameters", "[\"experts\"]"},
                                   {"peft_type", "\"IA3\""},
                                   {"use_bdlora", "{\"x\": 1}"}}) {
    EXPECT_TRUE(testing::fails_with(
        std::string(key) == "layer_replication" ? ErrorCode::InvalidCheckpoint
                                                : ErrorCode::Unsupported,
        std::string("adapter_config.json: ") + key, [&] { parse(with(key, value)); }))
        << key;
  }
  EXPECT_TRUE(testing::fails_with(ErrorCode::Unsupported, "regular expression",
                                  [] { parse(with("rank_pattern", "{\"layers.[01].q\": 4}")); }));
}

TEST(AdapterConfig, ValuesOutOfRangeAreRefusedByName) {
  for (const auto& [key, value] : {std::pair("r", "0"),
                                   {"r", "4097"},
                                   {"r", "1.5"},
                                   {"lora_alpha", "1e9"},
                                   {"lora_alpha", "\"x\""},
                                   {"rank_pattern", "[]"},
                                   {"rank_pattern", "{\"q_proj\": 0}"},
                                   {"alpha_pattern", "{\"q_proj\": \"x\"}"}}) {
    EXPECT_TRUE(
        testing::fails_with(ErrorCode::InvalidCheckpoint, key, [&] { parse(with(key, value)); }))
        << key << " " << value;
  }
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidCheckpoint, "peft_type", [] { parse("{}"); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidCheckpoint, "JSON", [] { parse("{"); }));
}

TEST(AdapterConfig, WhatIsWrittenReadsBack) {
  AdapterConfig config = parse(kPeft);
  config.has_root_scale = true;
  const AdapterConfig read = parse(make_adapter_config(config));
  EXPECT_EQ(read.rank, 8);
  EXPECT_EQ(read.alpha, 16);
  EXPECT_TRUE(read.has_root_scale);
  EXPECT_EQ(read.rank_pattern, config.rank_pattern);
  EXPECT_EQ(read.alpha_pattern, config.alpha_pattern);
  EXPECT_EQ(read.target_modules, config.target_modules);
  EXPECT_EQ(read.base_model, "some/model");
}

}  // namespace
}  // namespace fathom::config
