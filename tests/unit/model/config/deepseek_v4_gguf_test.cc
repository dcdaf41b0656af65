#include <cmath>
#include <limits>
#include <set>

#include <gtest/gtest.h>

#include "fathom/base/formats/gguf.h"
#include "fathom/model/config/read_config.h"

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

using formats::GgufArray;
using formats::GgufHeader;
using testing::expect_error;

// The metadata of V4-Flash as llama.cpp's converter writes it; fp32 numbers as the file keeps them.
GgufHeader flash_header() {
  const auto narrow = [](float value) { return static_cast<double>(value); };
  std::vector<std::int64_t> ratios = {0, 0};
  for (Index idx = 2; idx < 43; ++idx) {
    ratios.push_back(idx % 2 == 0 ? 4 : 128);
  }
  ratios.push_back(0);
  GgufHeader header;
  auto& data = header.metadata;
  data["general.architecture"] = std::string("deepseek4");
  const std::map<std::string, std::uint64_t> integers = {
      {"block_count", 43},
      {"context_length", 1048576},
      {"embedding_length", 4096},
      {"feed_forward_length", 2048},
      {"vocab_size", 129280},
      {"attention.head_count", 64},
      {"attention.head_count_kv", 1},
      {"attention.key_length", 512},
      {"attention.value_length", 512},
      {"attention.q_lora_rank", 1024},
      {"attention.output_lora_rank", 1024},
      {"attention.output_group_count", 8},
      {"attention.sliding_window", 128},
      {"attention.indexer.head_count", 64},
      {"attention.indexer.key_length", 128},
      {"attention.indexer.top_k", 512},
      {"rope.dimension_count", 64},
      {"rope.scaling.original_context_length", 65536},
      {"expert_count", 256},
      {"expert_used_count", 6},
      {"expert_shared_count", 1},
      {"expert_feed_forward_length", 2048},
      {"expert_gating_func", 4},
      {"hash_layer_count", 3},
      {"hyper_connection.count", 4},
      {"hyper_connection.sinkhorn_iterations", 20},
      {"nextn_predict_layers", 1}};
  for (const auto& [key, value] : integers) {
    data["deepseek4." + key] = value;
  }
  const std::map<std::string, float> numbers = {{"attention.layer_norm_rms_epsilon", 1e-6F},
                                                {"hyper_connection.epsilon", 1e-6F},
                                                {"expert_weights_scale", 1.5F},
                                                {"rope.freq_base", 10000.0F},
                                                {"attention.compress_rope_freq_base", 160000.0F},
                                                {"rope.scaling.factor", 16.0F},
                                                {"rope.scaling.yarn_beta_fast", 32.0F},
                                                {"rope.scaling.yarn_beta_slow", 1.0F}};
  for (const auto& [key, value] : numbers) {
    data["deepseek4." + key] = narrow(value);
  }
  data["deepseek4.rope.scaling.type"] = std::string("yarn");
  data["deepseek4.expert_weights_norm"] = true;
  data["deepseek4.attention.compress_ratios"] = GgufArray(ratios);
  data["deepseek4.swiglu_clamp_exp"] = GgufArray(std::vector<double>(43, 10.0));
  data["tokenizer.ggml.bos_token_id"] = std::uint64_t{0};
  data["tokenizer.ggml.eos_token_id"] = std::uint64_t{1};
  return header;
}

void add_tensor(GgufHeader& header, const std::string& name) {
  header.tensors.push_back(
      {.name = name, .type = formats::GgufType::F32, .shape = {1}, .begin = 0, .end = 4});
}

ModelConfig parse(const GgufHeader& header) {
  return parse_gguf_config(header, "a.gguf").model;
}

TEST(ReadGgufConfig, DescribesTheSameModelAsConfigJsonButForMtp) {
  ModelConfig expected = testing::builtin("v4-flash");
  expected.mtp_layers.clear();
  const ParsedConfig parsed = parse_gguf_config(flash_header(), "a.gguf");
  EXPECT_EQ(parsed.model, expected);
  EXPECT_EQ(parsed.storage, std::nullopt);
  EXPECT_TRUE(parsed.model.unknown_keys.empty());
}

TEST(ReadGgufConfig, MtpBlockIsThereWhenItsTensorsAre) {
  GgufHeader header = flash_header();
  add_tensor(header, "mtp.0.attn_norm.weight");
  EXPECT_EQ(parse(header), testing::builtin("v4-flash"));
  // ds4 may list one ratio per block_count only.
  auto ratios = std::get<std::vector<std::int64_t>>(
      std::get<GgufArray>(header.metadata["deepseek4.attention.compress_ratios"]));
  ratios.pop_back();
  header.metadata["deepseek4.attention.compress_ratios"] = GgufArray(ratios);
  EXPECT_EQ(parse(header), testing::builtin("v4-flash"));
}

TEST(ReadGgufConfig, BlocksOfLlamaCppsOwnMtpAreNoLayers) {
  GgufHeader header = flash_header();
  header.metadata["deepseek4.block_count"] = std::uint64_t{44};
  add_tensor(header, "blk.43.nextn.eh_proj.weight");
  const ModelConfig config = parse(header);
  EXPECT_EQ(config.num_layers(), 43);
  EXPECT_TRUE(config.mtp_layers.empty());
}

TEST(ReadGgufConfig, VocabularyIsCountedWhereItsSizeIsNotGiven) {
  GgufHeader header = flash_header();
  header.metadata.erase("deepseek4.vocab_size");
  expect_error([&] { parse(header); }, ErrorCode::InvalidCheckpoint,
               {"a.gguf: deepseek4.vocab_size: key is missing, and so is tokenizer.ggml.tokens"});
  header.metadata["tokenizer.ggml.tokens"] = GgufArray(std::vector<std::string>(300, "a"));
  EXPECT_EQ(parse(header).vocab_size, 300);
}

TEST(ReadGgufConfig, SharedClampIsItsOwnOrACopy) {
  GgufHeader header = flash_header();
  std::vector<double> limits(43, 10.0);
  limits[7] = 0.5;
  header.metadata["deepseek4.swiglu_clamp_exp"] = GgufArray(limits);
  EXPECT_EQ(parse(header).layers[7].swiglu_limit, 0.5);
  EXPECT_EQ(parse(header).layers[7].shared_swiglu_limit, 0.5);
  header.metadata["deepseek4.swiglu_clamp_shexp"] = 0.0;
  EXPECT_EQ(parse(header).layers[7].swiglu_limit, 0.5);
  EXPECT_TRUE(std::isinf(parse(header).layers[7].shared_swiglu_limit));
}

TEST(ReadGgufConfig, WithoutScalingTypeThereIsNoYarn) {
  GgufHeader header = flash_header();
  header.metadata.erase("deepseek4.rope.scaling.type");
  EXPECT_EQ(parse(header).layers[2].rope, (RopeConfig{160000, std::nullopt}));
}

TEST(ReadGgufConfig, UnknownKeysOfTheArchitectureAreListed) {
  GgufHeader header = flash_header();
  header.metadata["deepseek4.zeta"] = std::uint64_t{1};
  header.metadata["general.name"] = std::string("x");
  EXPECT_EQ(parse(header).unknown_keys, std::vector<std::string>{"deepseek4.zeta"});
}

TEST(ReadGgufConfig, EveryMissingKeyIsFatalAndNamed) {
  const std::set<std::string> optional = {
      "deepseek4.feed_forward_length", "deepseek4.attention.value_length",
      "deepseek4.rope.scaling.type", "deepseek4.nextn_predict_layers"};
  for (const auto& [key, value] : flash_header().metadata) {
    GgufHeader header = flash_header();
    header.metadata.erase(key);
    if (optional.contains(key)) {
      EXPECT_NO_THROW(parse(header)) << key;
    } else {
      expect_error([&] { parse(header); }, ErrorCode::InvalidCheckpoint,
                   {"a.gguf: " + key + ": key is missing"});
    }
  }
}

TEST(ReadGgufConfig, HostileValuesAreRefusedByName) {
  struct Case {
    std::string key;
    formats::GgufValue value;
    ErrorCode code;
    std::string part;
  };
  const ErrorCode invalid = ErrorCode::InvalidCheckpoint;
  const ErrorCode unsupported = ErrorCode::Unsupported;
  using U = std::uint64_t;
  const std::vector<Case> cases = {
      {"general.architecture", std::string("deepseek2"), unsupported, "found \"deepseek2\""},
      {"deepseek4.expert_gating_func", U{2}, unsupported, "only 4 is supported, found 2"},
      {"deepseek4.attention.head_count_kv", U{8}, unsupported, "only 1 is supported, found 8"},
      {"deepseek4.expert_group_count", U{8}, unsupported, "only 0 is supported, found 8"},
      {"deepseek4.expert_weights_norm", false, unsupported, "only true is supported"},
      {"deepseek4.rope.scaling.type", std::string("linear"), unsupported, "found \"linear\""},
      {"deepseek4.nextn_predict_layers", U{3}, unsupported, "3 MTP blocks"},
      {"deepseek4.attention.indexer.key_length", U{96}, unsupported, "only powers of two"},
      {"deepseek4.attention.indexer.key_length", U{1024}, unsupported, "up to 512"},
      {"deepseek4.embedding_length", std::string("4096"), invalid, ""},
      {"deepseek4.embedding_length", U{0}, invalid, "from 1 to 131072, found 0"},
      {"deepseek4.block_count", U{42}, invalid, "attention.compress_ratios: expected 42 entries"},
      {"deepseek4.attention.value_length", U{256}, invalid,
       "expected 512 (deepseek4.attention.key_length), found 256"},
      {"deepseek4.attention.compress_ratios", GgufArray(std::vector<std::int64_t>(44, 8)), invalid,
       "expected 0, 4 or 128, found 8"},
      {"deepseek4.attention.compress_ratios", GgufArray(std::vector<std::int64_t>(44, -4)), invalid,
       "found -4"},
      {"deepseek4.swiglu_clamp_exp", GgufArray(std::vector<double>(5, 1.0)), invalid,
       "expected 43 entries (one per block), found 5"},
      {"deepseek4.swiglu_clamp_exp", GgufArray(std::vector<double>()), invalid, "found 0"},
      {"deepseek4.swiglu_clamp_exp", GgufArray(std::vector<double>(43, std::nan(""))), invalid,
       "swiglu_clamp_exp[0]"},
      {"deepseek4.rope.freq_base", std::nan(""), invalid, ""},
      {"deepseek4.hyper_connection.epsilon", std::numeric_limits<double>::infinity(), invalid, ""},
      {"deepseek4.attention.output_group_count", U{5}, invalid,
       "expected a divisor of attention.head_count x attention.key_length"},
      {"tokenizer.ggml.eos_token_id", U{129280}, invalid, "expected less than vocab_size"},
  };
  for (const Case& hostile : cases) {
    SCOPED_TRACE(hostile.key);
    GgufHeader header = flash_header();
    header.metadata[hostile.key] = hostile.value;
    // Checks of several keys name them without the architecture.
    expect_error([&] { parse(header); }, hostile.code, {"a.gguf: ", hostile.part});
  }
}

}  // namespace
}  // namespace fathom::config
