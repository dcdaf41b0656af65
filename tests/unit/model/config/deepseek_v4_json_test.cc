#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include "fathom/model/config/read_config.h"

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

using numeric::ScaleFormat;
using numeric::WeightFormat;
using testing::checkpoint_config;
using testing::expect_error;
using testing::patched;
using testing::read_data;

ModelConfig parse(const std::string& text) {
  return parse_config_json(text, "dir/config.json").model;
}

TEST(ReadConfigJson, FlashHasTheFactsOfThePublishedConfig) {
  const ModelConfig config = parse(read_data("golden/configs/v4-flash.config.json"));
  EXPECT_EQ(config.vocab_size, 129280);
  EXPECT_EQ(config.hidden_size, 4096);
  EXPECT_EQ(config.max_context, 1048576);
  EXPECT_EQ(config.num_heads, 64);
  EXPECT_EQ(config.head_dim, 512);
  EXPECT_EQ(config.rope_dim, 64);
  EXPECT_EQ(config.query_rank, 1024);
  EXPECT_EQ(config.window, 128);
  EXPECT_EQ(config.num_output_groups, 8);
  EXPECT_EQ(config.output_rank, 1024);
  EXPECT_EQ(config.num_index_heads, 64);
  EXPECT_EQ(config.index_head_dim, 128);
  EXPECT_EQ(config.index_top_k, 512);
  EXPECT_EQ(config.num_experts, 256);
  EXPECT_EQ(config.num_shared_experts, 1);
  EXPECT_EQ(config.num_experts_per_token, 6);
  EXPECT_EQ(config.expert_hidden, 2048);
  EXPECT_EQ(config.num_hash_layers, 3);
  EXPECT_EQ(config.route_scale, 1.5);
  EXPECT_EQ(config.num_streams, 4);
  EXPECT_EQ(config.sinkhorn_iterations, 20);
  EXPECT_EQ(config.hyper_epsilon, 1e-6);
  EXPECT_EQ(config.norm_epsilon, 1e-6);
  EXPECT_EQ(config.bos_token, 0);
  EXPECT_EQ(config.eos_token, 1);
  EXPECT_TRUE(config.unknown_keys.empty()) << config.unknown_keys.front();
}

TEST(ReadConfigJson, EachLayerOfFlashHasItsKindRouterRopeAndClamp) {
  const ModelConfig config = parse(read_data("golden/configs/v4-flash.config.json"));
  const RopeConfig plain{.base = 10000, .yarn = std::nullopt};
  const RopeConfig compressed{.base = 160000, .yarn = RopeConfig::Yarn{16, 65536, 32, 1}};
  ASSERT_EQ(config.num_layers(), 43);
  for (Index idx = 0; idx < 43; ++idx) {
    const LayerConfig& layer = config.layers[to_size(idx)];
    const Index ratio = idx < 2 ? 0 : idx % 2 == 0 ? 4 : 128;
    EXPECT_EQ(layer.compress_ratio, ratio) << idx;
    EXPECT_EQ(layer.attention, ratio == 0   ? AttentionKind::SlidingWindow
                               : ratio == 4 ? AttentionKind::CompressedSparse
                                            : AttentionKind::HeavilyCompressed);
    EXPECT_EQ(layer.router, idx < 3 ? RouterKind::HashTable : RouterKind::TopK) << idx;
    EXPECT_EQ(layer.rope, ratio == 0 ? plain : compressed) << idx;
    EXPECT_EQ(layer.swiglu_limit, 10) << idx;
    EXPECT_EQ(layer.shared_swiglu_limit, 10) << idx;
  }
  ASSERT_EQ(config.mtp_layers.size(), 1U);
  EXPECT_EQ(config.mtp_layers[0].attention, AttentionKind::SlidingWindow);
  EXPECT_EQ(config.mtp_layers[0].router, RouterKind::TopK);
  EXPECT_EQ(config.mtp_layers[0].rope, plain);
}

TEST(ReadConfigJson, GoldenCheckpointsParse) {
  for (const std::string& name : testing::checkpoint_names()) {
    const ModelConfig config = parse(checkpoint_config(name));
    EXPECT_TRUE(config.unknown_keys.empty()) << name;
    EXPECT_EQ(config.mtp_layers.size(), name == "trained-bytes" ? 0U : 1U) << name;
  }
  EXPECT_EQ(parse(checkpoint_config("trained-bytes")).num_layers(), 5);
}

TEST(ReadConfigJson, TransformersWritesTheSameModel) {
  const ModelConfig official = parse(read_data("golden/configs/v4-flash.config.json"));
  const ModelConfig written = parse(read_data("transformers/v4-flash.config.json"));
  EXPECT_TRUE(written.unknown_keys.empty()) << written.unknown_keys.front();
  EXPECT_EQ(written, official);
}

TEST(ReadConfigJson, TransformersOwnConfigNeedsNoOfficialKeys) {
  const std::string text =
      patched(read_data("transformers/small.config.json"), R"({"qk_rope_head_dim": null})");
  const ModelConfig config = parse(text);
  EXPECT_EQ(config.rope_dim, 8);  // partial_rotary_factor 0.25 of head_dim 32
  EXPECT_EQ(config.num_hash_layers, 0);
  ASSERT_EQ(config.num_layers(), 2);
  EXPECT_EQ(config.layers[0].compress_ratio, 128);
  EXPECT_EQ(config.layers[1].compress_ratio, 4);
  EXPECT_EQ(config.layers[1].rope, (RopeConfig{160000, RopeConfig::Yarn{16, 64, 32, 1}}));
  EXPECT_EQ(config.mtp_layers.size(), 1U);
}

TEST(ReadConfigJson, HashRoutedLayersNeedNotComeFirst) {
  const ModelConfig config = parse(patched(read_data("transformers/small.config.json"),
                                           R"({"mlp_layer_types": ["moe", "hash"]})"));
  EXPECT_EQ(config.layers[0].router, RouterKind::TopK);
  EXPECT_EQ(config.layers[1].router, RouterKind::HashTable);
  EXPECT_EQ(config.num_hash_layers, 1);
}

TEST(ReadConfigJson, WithoutRopeScalingThereIsNoYarn) {
  for (const char* patch : {R"({"rope_scaling": null})",
                            R"({"rope_scaling": {"original_max_position_embeddings": 0}})"}) {
    const ModelConfig config = parse(patched(checkpoint_config("flash-tiny"), patch));
    EXPECT_EQ(config.layers[2].rope, (RopeConfig{160000, std::nullopt})) << patch;
  }
}

TEST(ReadConfigJson, SwigluLimitOfZeroIsNoClamp) {
  const ModelConfig config =
      parse(patched(checkpoint_config("flash-tiny"), R"({"swiglu_limit": 0})"));
  EXPECT_TRUE(std::isinf(config.layers[0].swiglu_limit));
  EXPECT_TRUE(std::isinf(config.mtp_layers[0].shared_swiglu_limit));
}

TEST(ReadConfigJson, UnknownKeysAreListedWithTheirPath) {
  const ModelConfig config =
      parse(patched(checkpoint_config("flash-tiny"),
                    R"({"zeta": 1, "alpha": {}, "rope_scaling": {"mscale": 1}})"));
  EXPECT_EQ(config.unknown_keys,
            (std::vector<std::string>{"alpha", "rope_scaling.mscale", "zeta"}));
}

TEST(ReadConfigJson, ListOfOneEndTokenIsThatToken) {
  EXPECT_EQ(parse(patched(checkpoint_config("flash-tiny"), R"({"eos_token_id": [7]})")).eos_token,
            7);
}

TEST(ReadConfigJson, StorageComesFromExpertDtypeThenFromTheSiblingThenIsUnknown) {
  const std::string flash = read_data("golden/configs/v4-flash.config.json");
  const std::string pro = read_data("golden/configs/v4-pro.config.json");
  const StoragePlan fp4{WeightFormat::Fp4, WeightFormat::Fp8, ScaleFormat::E8M0};
  const StoragePlan base{WeightFormat::Fp8, WeightFormat::Fp8, ScaleFormat::F32};
  const StoragePlan bf16{WeightFormat::BF16, WeightFormat::BF16, ScaleFormat::None};
  const auto storage = [](const std::string& text, const std::string& sibling) {
    return parse_config_json(text, "config.json", sibling, "inference/config.json").storage;
  };
  const std::string sibling = read_data("golden/configs/v4-flash.inference.config.json");
  EXPECT_EQ(storage(flash, ""), std::nullopt);
  EXPECT_EQ(storage(flash, sibling), fp4);
  EXPECT_EQ(storage(flash, patched(sibling, R"({"expert_dtype": null})")), base);  // dtype fp8
  EXPECT_EQ(storage(flash, patched(sibling, R"({"expert_dtype": null, "dtype": null})")),
            std::nullopt);
  EXPECT_EQ(storage(pro, ""), fp4);
  EXPECT_EQ(storage(patched(flash, R"({"expert_dtype": "fp8"})"), sibling), base);
  EXPECT_EQ(storage(patched(flash, R"({"quantization_config": {"expert_dtype": "fp4"}})"), ""),
            fp4);
  EXPECT_EQ(storage(checkpoint_config("bf16-tiny"), ""), bf16);
}

TEST(ReadConfigJson, SiblingThatDescribesAnotherModelIsRejected) {
  expect_error(
      [] {
        parse_config_json(read_data("golden/configs/v4-flash.config.json"), "config.json",
                          read_data("golden/configs/v4-pro.inference.config.json"),
                          "inference/config.json");
      },
      ErrorCode::InvalidCheckpoint,
      {"inference/config.json: dim: expected 4096", "config.json says so in hidden_size",
       "found 7168"});
}

TEST(ReadConfigJson, EveryMissingKeyIsFatalAndNamed) {
  const std::string text = read_data("golden/configs/v4-flash.config.json");
  const std::set<std::string> optional = {
      "architectures", "attention_dropout",   "initializer_range", "rope_scaling",
      "torch_dtype",   "quantization_config", "use_cache",         "transformers_version"};
  const nlohmann::json json = nlohmann::json::parse(text);
  for (const auto& [key, value] : json.items()) {
    const std::string without = patched(text, "{\"" + key + "\": null}");
    if (optional.contains(key)) {
      EXPECT_NO_THROW(parse(without)) << key;
    } else {
      expect_error([&] { parse(without); }, ErrorCode::InvalidCheckpoint,
                   {"dir/config.json: " + key + ": key is missing"});
    }
  }
  for (const char* key :
       {"type", "factor", "original_max_position_embeddings", "beta_fast", "beta_slow"}) {
    expect_error(
        [&] { parse(patched(text, R"({"rope_scaling": {")" + std::string(key) + "\": null}}")); },
        ErrorCode::InvalidCheckpoint, {std::string("rope_scaling.") + key + ": key is missing"});
  }
}

struct HostileCase {
  const char* patch;
  ErrorCode code;
  std::vector<std::string> parts;
};

TEST(ReadConfigJson, HostileValuesAreRefusedByName) {
  const ErrorCode invalid = ErrorCode::InvalidCheckpoint;
  const ErrorCode unsupported = ErrorCode::Unsupported;
  const std::vector<HostileCase> cases = {
      // Types and ranges.
      {R"({"hidden_size": "256"})", invalid, {"hidden_size: expected an integer", "found \"256\""}},
      {R"({"hidden_size": 256.0})", invalid, {"hidden_size: expected an integer", "found 256.0"}},
      {R"({"hidden_size": -1})", invalid, {"hidden_size", "found -1"}},
      {R"({"hidden_size": 0})", invalid, {"hidden_size", "found 0"}},
      {R"({"hidden_size": 18446744073709551615})",
       invalid,
       {"hidden_size", "found 18446744073709551615"}},
      {R"({"hidden_size": 9223372036854775807})", invalid, {"hidden_size", "from 1 to 131072"}},
      {R"({"hidden_size": [256]})", invalid, {"hidden_size", "found [256]"}},
      {R"({"hidden_size": true})", invalid, {"hidden_size", "found true"}},
      {R"({"vocab_size": 1000000000000})", invalid, {"vocab_size", "from 1 to 16777216"}},
      {R"({"num_hidden_layers": 100000})", invalid, {"num_hidden_layers", "from 1 to 1024"}},
      {R"({"rms_norm_eps": "1e-6"})",
       invalid,
       {"rms_norm_eps: expected a number", "found \"1e-6\""}},
      {R"({"rms_norm_eps": 0})", invalid, {"rms_norm_eps", "found 0"}},
      {R"({"rms_norm_eps": -1e-6})", invalid, {"rms_norm_eps", "found -1e-06"}},
      {R"({"swiglu_limit": -1})", invalid, {"swiglu_limit", "found -1"}},
      {R"({"rope_theta": 1})", invalid, {"rope_theta", "found 1"}},
      {R"({"norm_topk_prob": 1})", invalid, {"norm_topk_prob: expected true or false, found 1"}},
      {R"({"hidden_act": 3})", invalid, {"hidden_act: expected a string, found 3"}},
      {R"({"compress_ratios": 4})",
       invalid,
       {"compress_ratios: expected a list of integers, found 4"}},
      {R"({"compress_ratios": [0, 0, 4, "128", 0]})",
       invalid,
       {"compress_ratios[3]: expected an integer"}},
      {R"({"rope_scaling": 3})", invalid, {"rope_scaling: expected an object, found 3"}},
      {R"({"rope_scaling": {"factor": 0}})", invalid, {"rope_scaling.factor", "found 0"}},
      {R"({"architectures": "DeepseekV4ForCausalLM"})",
       invalid,
       {"architectures: expected a list of strings"}},
      {R"({"bos_token_id": 512})",
       invalid,
       {"bos_token_id: expected less than vocab_size (512), found 512"}},
      // Contradictions.
      {R"({"compress_ratios": [0, 0, 4, 128]})",
       invalid,
       {"compress_ratios: expected 5 entries", "found 4"}},
      {R"({"compress_ratios": [0, 0, 4, 128, 4, 0]})",
       invalid,
       {"compress_ratios: expected 5 entries", "found 6"}},
      {R"({"num_nextn_predict_layers": 0, "compress_ratios": [0, 0, 4]})",
       invalid,
       {"expected 4 entries", "found 3"}},
      {R"({"compress_ratios": [0, 0, 4, 64, 0]})",
       invalid,
       {"compress_ratios[3]: expected 0, 4 or 128, found 64"}},
      {R"({"o_groups": 3})",
       invalid,
       {"o_groups: expected a divisor of num_attention_heads x head_dim (512), found 3"}},
      {R"({"qk_rope_head_dim": 130})",
       invalid,
       {"qk_rope_head_dim: expected at most head_dim (128), found 130"}},
      {R"({"qk_rope_head_dim": 66})",
       invalid,
       {"qk_rope_head_dim: expected at most index_head_dim (64), found 66"}},
      {R"({"qk_rope_head_dim": 63})",
       invalid,
       {"qk_rope_head_dim: expected an even number, found 63"}},
      {R"({"num_experts_per_tok": 9})",
       invalid,
       {"num_experts_per_tok: expected at most n_routed_experts (8), found 9"}},
      {R"({"num_hash_layers": 5})",
       invalid,
       {"num_hash_layers: expected at most the number of layers (4), found 5"}},
      {R"({"partial_rotary_factor": 0.25})",
       invalid,
       {"partial_rotary_factor", "(64 / 128), found 0.25"}},
      {R"({"mlp_layer_types": ["moe"]})",
       invalid,
       {"mlp_layer_types: expected 4 entries", "found 1"}},
      {R"({"mlp_layer_types": ["moe", "moe", "moe", "moe"]})",
       invalid,
       {"num_hash_layers: expected 0"}},
      {R"({"layer_types": ["sliding_attention"]})",
       invalid,
       {"layer_types: expected 4 entries", "found 1"}},
      {R"({"layer_types": ["sliding_attention", "sliding_attention", "sliding_attention", "sliding_attention"]})",
       invalid,
       {"compress_ratios: expected the ratios of layer_types"}},
      {R"({"rope_parameters": {"main": {}}})",
       invalid,
       {"rope_scaling: expected no such key beside rope_parameters"}},
      {R"({"expert_dtype": "fp4", "quantization_config": {"expert_dtype": "fp8"}})",
       invalid,
       {"quantization_config.expert_dtype: expected fp4", "found fp8"}},
      // What only we cannot do.
      {R"({"num_key_value_heads": 8})",
       unsupported,
       {"num_key_value_heads: only 1 is supported, found 8"}},
      {R"({"hidden_act": "gelu"})",
       unsupported,
       {"hidden_act: only \"silu\" is supported, found \"gelu\""}},
      {R"({"scoring_func": "sigmoid"})", unsupported, {"scoring_func", "\"sigmoid\""}},
      {R"({"topk_method": "greedy"})", unsupported, {"topk_method", "\"greedy\""}},
      {R"({"norm_topk_prob": false})", unsupported, {"norm_topk_prob: only true"}},
      {R"({"attention_bias": true})", unsupported, {"attention_bias: only false"}},
      {R"({"mlp_bias": true})", unsupported, {"mlp_bias: only false"}},
      {R"({"tie_word_embeddings": true})", unsupported, {"tie_word_embeddings: only false"}},
      {R"({"index_head_dim": 96})",
       unsupported,
       {"index_head_dim: only powers of two", "found 96"}},
      {R"({"index_head_dim": 1024})",
       unsupported,
       {"index_head_dim: only powers of two up to 512", "found 1024"}},
      {R"({"eos_token_id": [1, 2]})", unsupported, {"eos_token_id: only one token", "a list of 2"}},
      {R"({"num_nextn_predict_layers": 3})",
       unsupported,
       {"num_nextn_predict_layers: 3 MTP blocks", "DSpark"}},
      {R"({"n_mtp_layers": 3})", unsupported, {"n_mtp_layers: 3 MTP blocks", "DSpark"}},
      {R"({"dspark_rank": 3})", unsupported, {"dspark_rank", "DSpark"}},
      {R"({"compress_ratios": [0, 0, 4, 128, 4]})",
       unsupported,
       {"compress_ratios[4]: an MTP block with ratio 4"}},
      {R"({"compress_rates": {"compressed_sparse_attention": 8}})",
       unsupported,
       {"compress_rates.compressed_sparse_attention: only 4 is supported, found 8"}},
      {R"({"layer_types": ["full_attention", "a", "b", "c"]})",
       unsupported,
       {"layer_types[0]", "\"full_attention\""}},
      {R"({"mlp_layer_types": ["dense", "a", "b", "c"]})",
       unsupported,
       {"mlp_layer_types[0]", "\"dense\""}},
      {R"({"rope_scaling": {"type": "linear"}})", unsupported, {"rope_scaling.type", "\"linear\""}},
      {R"({"rope_scaling": {"attention_factor": 1.2}})",
       unsupported,
       {"rope_scaling.attention_factor", "found 1.2"}},
      {R"({"expert_dtype": "int4"})",
       unsupported,
       {"expert_dtype: expected fp4, fp8, bf16 or f32, found \"int4\""}},
      {R"({"quantization_config": {"quant_method": "awq"}})",
       unsupported,
       {"quantization_config.quant_method", "awq"}},
      {R"({"quantization_config": {"weight_block_size": [32, 32]}})",
       unsupported,
       {"quantization_config.weight_block_size"}},
      {R"({"quantization_config": {"scale_fmt": "e5m3"}})",
       unsupported,
       {"quantization_config.scale_fmt", "e5m3"}},
      {R"({"architectures": ["DeepseekV41ForCausalLM"]})",
       unsupported,
       {"architectures: DeepSeek-V4.1"}},
      {R"({"model_type": "deepseek_v41"})", unsupported, {"model_type: DeepSeek-V4.1"}},
      {R"({"architectures": ["LlamaForCausalLM"]})",
       unsupported,
       {"architectures", "\"LlamaForCausalLM\""}},
      {R"({"model_type": "gemma"})",
       unsupported,
       {"model_type: expected \"deepseek_v4\"", "\"mistral\", found \"gemma\""}},
      {R"({"model_type": "x\n\u001b[31m"})", unsupported, {"model_type"}},
  };
  const std::string text = checkpoint_config("flash-tiny");
  for (const HostileCase& hostile : cases) {
    SCOPED_TRACE(hostile.patch);
    std::vector<std::string> parts = hostile.parts;
    parts.emplace_back("dir/config.json: ");
    expect_error([&] { parse(patched(text, hostile.patch)); }, hostile.code, parts);
  }
}

}  // namespace
}  // namespace fathom::config
