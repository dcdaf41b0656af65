#include <gtest/gtest.h>

#include "fathom/base/formats/gguf.h"

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

using formats::GgufHeader;
using testing::expect_error;

using U = std::uint64_t;

// The metadata of SmolLM2-135M-Instruct as llama.cpp's converter writes it.
GgufHeader smollm2_header() {
  GgufHeader header;
  auto& data = header.metadata;
  data["general.architecture"] = std::string("llama");
  data["llama.block_count"] = U{30};
  data["llama.context_length"] = U{8192};
  data["llama.embedding_length"] = U{576};
  data["llama.feed_forward_length"] = U{1536};
  data["llama.attention.head_count"] = U{9};
  data["llama.attention.head_count_kv"] = U{3};
  data["llama.rope.freq_base"] = 100000.0;
  data["llama.rope.dimension_count"] = U{64};
  data["llama.attention.layer_norm_rms_epsilon"] = static_cast<double>(1e-5F);
  data["llama.vocab_size"] = U{49152};
  data["tokenizer.ggml.bos_token_id"] = U{1};
  data["tokenizer.ggml.eos_token_id"] = U{2};
  return header;
}

void add_tensor(GgufHeader& header, const std::string& name) {
  header.tensors.push_back(
      {.name = name, .type = formats::GgufType::F32, .shape = {1}, .begin = 0, .end = 4});
}

ModelConfig parse(const GgufHeader& header) {
  return parse_gguf_config(header, "a.gguf").model;
}

TEST(ReadLlamaGguf, DescribesTheModelOfConfigJsonInAnotherOrderOfRows) {
  ModelConfig expected = parse_config_json(testing::smollm2_config(), "c").model;
  for (LayerConfig& layer : expected.layers) {
    layer.rope.pairs = RopePairs::Neighbours;
  }
  const ParsedConfig parsed = parse_gguf_config(smollm2_header(), "a.gguf");
  EXPECT_EQ(parsed.model, expected);
  EXPECT_EQ(parsed.storage, std::nullopt);
  EXPECT_TRUE(parsed.assumed.empty());
}

TEST(ReadLlamaGguf, TensorsSayWhetherTheHeadIsTiedAndTheFrequenciesAreDivided) {
  GgufHeader header = smollm2_header();
  EXPECT_TRUE(parse(header).is_head_tied);
  EXPECT_FALSE(parse(header).has_rope_divisors);
  add_tensor(header, "output.weight");
  add_tensor(header, "rope_freqs.weight");
  EXPECT_FALSE(parse(header).is_head_tied);
  EXPECT_TRUE(parse(header).has_rope_divisors);
}

TEST(ReadLlamaGguf, OptionalKeysFollowLlamaCpp) {
  GgufHeader header = smollm2_header();
  auto& data = header.metadata;
  for (const char* key :
       {"llama.attention.head_count_kv", "llama.rope.freq_base", "llama.rope.dimension_count",
        "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "llama.vocab_size"}) {
    data.erase(key);
  }
  data["tokenizer.ggml.tokens"] = formats::GgufArray(std::vector<std::string>(100));
  data["tokenizer.ggml.eot_token_id"] = U{7};
  data["llama.attention.key_length"] = U{32};
  data["llama.attention.value_length"] = U{32};
  const ParsedConfig parsed = parse_gguf_config(header, "a.gguf");
  EXPECT_EQ(parsed.model.num_key_value_heads, 9);
  EXPECT_EQ(parsed.model.head_dim, 32);
  EXPECT_EQ(parsed.model.vocab_size, 100);
  EXPECT_EQ(parsed.model.bos_token, ModelConfig::kNoToken);
  EXPECT_EQ(parsed.model.eos_token, ModelConfig::kNoToken);
  EXPECT_EQ(parsed.model.more_eos_tokens, std::vector<Index>{7});
  EXPECT_EQ(parsed.model.layers[0].rope.base, 10000);
  EXPECT_EQ(parsed.assumed, std::vector<std::string>{"llama.rope.freq_base = 10000"});
}

TEST(ReadLlamaGguf, LinearScalingIsReadUnlessTheTypeIsNone) {
  const auto factor_of = [](const GgufHeader& header) {
    return parse(header).layers[0].rope.linear_factor;
  };
  GgufHeader header = smollm2_header();
  EXPECT_EQ(factor_of(header), 1);
  header.metadata["llama.rope.scale_linear"] = 2.0;
  EXPECT_EQ(factor_of(header), 2);
  header.metadata["llama.rope.scaling.factor"] = 4.0;
  EXPECT_EQ(factor_of(header), 4);
  header.metadata["llama.rope.scaling.type"] = std::string("linear");
  EXPECT_EQ(factor_of(header), 4);
  header.metadata["llama.rope.scaling.type"] = std::string("none");
  EXPECT_EQ(factor_of(header), 1);
}

TEST(ReadLlamaGguf, WhatIsNotPlainLlamaIsRefusedByName) {
  struct Case {
    std::string key;
    formats::GgufValue value;
    ErrorCode code;
    std::string part;
  };
  const ErrorCode unsupported = ErrorCode::Unsupported;
  const std::vector<Case> cases = {
      {"general.architecture", std::string("gemma"), unsupported, "found \"gemma\""},
      {"llama.expert_count", U{8}, unsupported, "expert_count: only 0 is supported"},
      {"llama.rope.scaling.type", std::string("yarn"), unsupported, "found \"yarn\""},
      {"llama.rope.dimension_count", U{32}, unsupported, "only whole heads (64)"},
      {"llama.attention.value_length", U{32}, unsupported, "value_length"},
      {"llama.attention.sliding_window", U{4096}, unsupported, "sliding_window"},
      {"llama.attention.scale", 0.5, unsupported, "attention.scale"},
      {"llama.attention.head_count_kv", U{2}, ErrorCode::InvalidCheckpoint, "a divisor of"},
      {"llama.attention.head_count", U{10}, ErrorCode::InvalidCheckpoint, "embedding_length (576)"},
      {"tokenizer.ggml.eos_token_id", U{49152}, ErrorCode::InvalidCheckpoint, "eos_token_id"},
      {"llama.rope.freq_base", -1.0, ErrorCode::InvalidCheckpoint, "rope.freq_base"},
  };
  for (const Case& hostile : cases) {
    GgufHeader header = smollm2_header();
    header.metadata[hostile.key] = hostile.value;
    expect_error([&] { parse(header); }, hostile.code, {"a.gguf: ", hostile.part});
  }
  GgufHeader biased = smollm2_header();
  add_tensor(biased, "blk.3.attn_q.bias");
  expect_error([&] { parse(biased); }, unsupported, {"blk.3.attn_q.bias", "bias"});
  GgufHeader short_one = smollm2_header();
  short_one.metadata.erase("llama.feed_forward_length");
  expect_error([&] { parse(short_one); }, ErrorCode::InvalidCheckpoint,
               {"llama.feed_forward_length: key is missing"});
}

TEST(ReadLlamaGguf, UnknownKeysOfTheArchitectureAreListed) {
  GgufHeader header = smollm2_header();
  header.metadata["llama.from_the_future"] = U{1};
  EXPECT_EQ(parse(header).unknown_keys, std::vector<std::string>{"llama.from_the_future"});
}

}  // namespace
}  // namespace fathom::config
