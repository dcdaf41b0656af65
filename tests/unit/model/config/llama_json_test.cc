#include <limits>

#include <gtest/gtest.h>

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

using numeric::WeightFormat;
using testing::expect_error;
using testing::patched;
using testing::smollm2_config;

ParsedConfig parse(const std::string& text) {
  return parse_config_json(text, "dir/config.json");
}

TEST(ReadLlamaJson, SmolLm2HasTheFactsOfItsConfig) {
  const ParsedConfig parsed = parse(smollm2_config());
  const ModelConfig& config = parsed.model;
  EXPECT_EQ(config.family, Family::Llama);
  EXPECT_EQ(config.vocab_size, 49152);
  EXPECT_EQ(config.hidden_size, 576);
  EXPECT_EQ(config.max_context, 8192);
  EXPECT_EQ(config.num_heads, 9);
  EXPECT_EQ(config.num_key_value_heads, 3);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.rope_dim, 64);
  EXPECT_EQ(config.mlp_hidden, 1536);
  EXPECT_EQ(config.norm_epsilon, 1e-5);
  EXPECT_EQ(config.bos_token, 1);
  EXPECT_EQ(config.eos_token, 2);
  EXPECT_TRUE(config.is_head_tied);
  ASSERT_EQ(config.num_layers(), 30);
  const LayerConfig& layer = config.layers.back();
  EXPECT_EQ(layer.attention, AttentionKind::Grouped);
  EXPECT_EQ(layer.router, RouterKind::None);
  EXPECT_EQ(layer.rope.base, 100000);
  EXPECT_EQ(layer.rope.pairs, RopePairs::Halves);
  EXPECT_EQ(layer.swiglu_limit, std::numeric_limits<double>::infinity());
  EXPECT_TRUE(config.unknown_keys.empty()) << config.unknown_keys.front();
  EXPECT_TRUE(parsed.assumed.empty()) << parsed.assumed.front();
  ASSERT_TRUE(parsed.storage.has_value());
  EXPECT_EQ(parsed.storage->dense, WeightFormat::BF16);
}

TEST(ReadLlamaJson, WhatTransformersSavesIsReadWithoutAssumptions) {
  const ParsedConfig parsed = parse(testing::llama_config());
  EXPECT_TRUE(parsed.assumed.empty()) << parsed.assumed.front();
  EXPECT_TRUE(parsed.model.unknown_keys.empty()) << parsed.model.unknown_keys.front();
  EXPECT_NE(parsed.model.num_heads * parsed.model.head_dim, parsed.model.hidden_size);
}

TEST(ReadLlamaJson, KeysThatOldFilesLackAreAssumedAndListed) {
  const ParsedConfig parsed = parse(
      patched(smollm2_config(),
              R"({"num_key_value_heads": null, "rope_theta": null, "tie_word_embeddings": null,
          "attention_bias": null, "mlp_bias": null, "torch_dtype": null, "bos_token_id": null})"));
  EXPECT_EQ(parsed.model.num_key_value_heads, 9);
  EXPECT_EQ(parsed.model.layers[0].rope.base, 10000);
  EXPECT_FALSE(parsed.model.is_head_tied);
  EXPECT_EQ(parsed.model.bos_token, ModelConfig::kNoToken);
  EXPECT_FALSE(parsed.storage.has_value());
  EXPECT_EQ(parsed.assumed,
            (std::vector<std::string>{"num_key_value_heads = 9", "rope_theta = 10000",
                                      "tie_word_embeddings = false"}));
}

TEST(ReadLlamaJson, HeadDimMayBeGivenAndNeedNotMultiplyToTheHiddenSize) {
  EXPECT_EQ(parse(patched(smollm2_config(), R"({"head_dim": 80})")).model.head_dim, 80);
}

TEST(ReadLlamaJson, SeveralEndTokensAreKept) {
  const ModelConfig config =
      parse(patched(smollm2_config(), R"({"eos_token_id": [5, 6, 7]})")).model;
  EXPECT_EQ(config.eos_token, 5);
  EXPECT_EQ(config.more_eos_tokens, (std::vector<Index>{6, 7}));
}

TEST(ReadLlamaJson, ScalingsOfTheRotationAreRead) {
  const auto rope_of = [](const std::string& patch) {
    return parse(patched(smollm2_config(), patch)).model.layers.front().rope;
  };
  EXPECT_EQ(rope_of(R"({"rope_scaling": {"type": "linear", "factor": 4}})").linear_factor, 4);
  const RopeConfig llama3 = rope_of(
      R"({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 2048}})");
  EXPECT_EQ(llama3.llama3, (RopeConfig::Llama3{8, 1, 4, 2048}));
  const RopeConfig modern = rope_of(
      R"({"rope_theta": null, "rope_parameters": {"rope_theta": 5000.0, "rope_type": "default"}})");
  EXPECT_EQ(modern.base, 5000);
  EXPECT_EQ(modern.linear_factor, 1);
  EXPECT_FALSE(modern.llama3.has_value());
}

TEST(ReadLlamaJson, MistralWithoutAWindowIsPlainLlama) {
  const std::string patch = R"({"model_type": "mistral", "architectures": ["MistralForCausalLM"],
                               "sliding_window": null})";
  ModelConfig mistral = parse(patched(smollm2_config(), patch)).model;
  EXPECT_EQ(mistral, parse(smollm2_config()).model);
  EXPECT_NO_THROW(parse(patched(smollm2_config(), R"({"sliding_window": 8192})")));
}

struct HostileCase {
  const char* patch;
  ErrorCode code;
  std::vector<std::string> parts;
};

TEST(ReadLlamaJson, WhatIsNotPlainLlamaIsRefusedByName) {
  const ErrorCode invalid = ErrorCode::InvalidCheckpoint;
  const ErrorCode unsupported = ErrorCode::Unsupported;
  const std::vector<HostileCase> cases = {
      {R"({"attention_bias": true})", unsupported, {"attention_bias: only false is supported"}},
      {R"({"mlp_bias": true})", unsupported, {"mlp_bias: only false is supported"}},
      {R"({"rope_interleaved": true})", unsupported, {"rope_interleaved"}},
      {R"({"hidden_act": "gelu"})", unsupported, {"hidden_act", "\"gelu\""}},
      {R"({"sliding_window": 4096})", unsupported, {"sliding_window", "found 4096"}},
      {R"({"partial_rotary_factor": 0.5})", unsupported, {"partial_rotary_factor"}},
      {R"({"quantization_config": {"quant_method": "gptq"}})",
       unsupported,
       {"quantization_config"}},
      {R"({"architectures": ["PhimoeForCausalLM"]})", unsupported, {"\"PhimoeForCausalLM\""}},
      {R"({"layer_types": ["sliding_attention"]})", unsupported, {"\"sliding_attention\""}},
      {R"({"layer_types": ["full_attention"]})", invalid, {"layer_types: expected 30 entries"}},
      {R"({"torch_dtype": "int8"})", unsupported, {"torch_dtype", "\"int8\""}},
      {R"({"rope_scaling": {"rope_type": "yarn", "factor": 4}})",
       unsupported,
       {"rope_scaling.rope_type", "\"yarn\""}},
      {R"({"rope_scaling": {"factor": 4}})", invalid, {"rope_scaling.rope_type: key is missing"}},
      {R"({"rope_scaling": {"type": "linear"}})", invalid, {"rope_scaling.factor"}},
      {R"({"rope_scaling": {"type": "linear", "factor": 0}})", invalid, {"rope_scaling.factor"}},
      {R"({"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 4,
           "high_freq_factor": 4, "original_max_position_embeddings": 64}})",
       invalid,
       {"high_freq_factor: expected more than low_freq_factor (4"}},
      {R"({"rope_scaling": {"type": "linear", "factor": 2},
           "rope_parameters": {"rope_type": "default"}})",
       invalid,
       {"rope_scaling: expected no such key beside rope_parameters"}},
      {R"({"rope_parameters": {"rope_type": "default", "rope_theta": 7}})",
       invalid,
       {"rope_parameters.rope_theta: expected 1e+05"}},
      {R"({"num_key_value_heads": 4})", invalid, {"num_key_value_heads: expected a divisor of"}},
      {R"({"num_attention_heads": 10, "num_key_value_heads": 5})",
       invalid,
       {"num_attention_heads: expected a divisor of hidden_size (576)"}},
      {R"({"head_dim": 63})", invalid, {"head_dim: expected an even number, found 63"}},
      {R"({"eos_token_id": 49152})", invalid, {"eos_token_id: expected less than vocab_size"}},
      {R"({"eos_token_id": [1, 49152]})", invalid, {"eos_token_id", "found 49152"}},
      {R"({"eos_token_id": []})", unsupported, {"eos_token_id", "list of 0"}},
      {R"({"bos_token_id": [1, 2]})", unsupported, {"bos_token_id", "list of 2"}},
      {R"({"vocab_size": null})", invalid, {"vocab_size: key is missing"}},
      {R"({"intermediate_size": null})", invalid, {"intermediate_size: key is missing"}},
      {R"({"rms_norm_eps": null})", invalid, {"rms_norm_eps: key is missing"}},
      {R"({"num_hidden_layers": null})", invalid, {"num_hidden_layers: key is missing"}},
      {R"({"model_type": null})", invalid, {"model_type: key is missing"}},
  };
  for (const HostileCase& hostile : cases) {
    SCOPED_TRACE(hostile.patch);
    expect_error([&] { parse(patched(smollm2_config(), hostile.patch)); }, hostile.code,
                 hostile.parts);
  }
}

TEST(ReadLlamaJson, UnknownKeysAreListedWithTheirPath) {
  const ModelConfig config =
      parse(patched(smollm2_config(),
                    R"({"zeta": 1, "rope_scaling": {"type": "linear", "factor": 2, "mscale": 1}})"))
          .model;
  EXPECT_EQ(config.unknown_keys, (std::vector<std::string>{"rope_scaling.mscale", "zeta"}));
}

}  // namespace
}  // namespace fathom::config
