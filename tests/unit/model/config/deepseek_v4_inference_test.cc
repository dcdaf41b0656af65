#include <gtest/gtest.h>

#include "fathom/model/config/read_config.h"

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

using numeric::ScaleFormat;
using numeric::WeightFormat;
using testing::expect_error;
using testing::patched;
using testing::read_data;

std::string flash_text() {
  return read_data("golden/configs/v4-flash.inference.config.json");
}

ParsedConfig parse(const std::string& text) {
  return parse_inference_config_json(text, "inference/config.json");
}

TEST(ReadInferenceConfig, DescribesTheSameModelAsConfigJson) {
  for (const std::string name : {"v4-flash", "v4-pro"}) {
    const ParsedConfig parsed =
        parse(read_data("golden/configs/" + name + ".inference.config.json"));
    EXPECT_EQ(parsed.model, testing::builtin(name)) << name;
    EXPECT_EQ(parsed.storage, storage_plan_from_name("fp4")) << name;
  }
}

TEST(ReadInferenceConfig, WhatTheTextLacksIsListedAsAssumed) {
  EXPECT_EQ(
      parse(flash_text()).assumed,
      (std::vector<std::string>{"max_seq_len = 1048576", "bos_token_id = 0", "eos_token_id = 1",
                                "hc_eps = 1e-06", "norm_eps = 1e-06", "n_mtp_layers = 1"}));
  const ParsedConfig full =
      parse(patched(flash_text(), R"({"max_seq_len": 4096, "bos_token_id": 5, "eos_token_id": 6,
                                      "hc_eps": 1e-5, "norm_eps": 1e-4, "n_mtp_layers": 0})"));
  EXPECT_TRUE(full.assumed.empty());
  EXPECT_EQ(full.model.max_context, 4096);
  EXPECT_EQ(full.model.bos_token, 5);
  EXPECT_EQ(full.model.norm_epsilon, 1e-4);
  EXPECT_TRUE(full.model.mtp_layers.empty());
}

TEST(ReadInferenceConfig, WithoutAnExtraRatioNoMtpBlockIsAssumed) {
  const ParsedConfig parsed = parse(patched(flash_text(), R"({"n_layers": 2, "n_hash_layers": 1,
                                                              "compress_ratios": [0, 4]})"));
  EXPECT_TRUE(parsed.model.mtp_layers.empty());
  EXPECT_EQ(parsed.assumed.back(), "n_mtp_layers = 0");
}

TEST(ReadInferenceConfig, OriginalLengthOfZeroMeansNoYarn) {
  const ParsedConfig parsed =
      parse(patched(flash_text(), R"({"original_seq_len": 0, "rope_factor": null})"));
  EXPECT_EQ(parsed.model.layers[2].rope, (RopeConfig{160000, std::nullopt}));
}

TEST(ReadInferenceConfig, StorageFollowsDtypeAndExpertDtype) {
  const StoragePlan base{WeightFormat::Fp8, WeightFormat::Fp8, ScaleFormat::F32};
  const StoragePlan bf16{WeightFormat::BF16, WeightFormat::BF16, ScaleFormat::None};
  EXPECT_EQ(parse(patched(flash_text(), R"({"expert_dtype": null})")).storage, base);
  EXPECT_EQ(parse(patched(flash_text(), R"({"expert_dtype": null, "dtype": "bf16"})")).storage,
            bf16);
  EXPECT_EQ(parse(patched(flash_text(), R"({"dtype": null})")).storage, std::nullopt);
}

TEST(ReadInferenceConfig, HostileValuesAreRefusedByTheirOwnNames) {
  struct Case {
    const char* patch;
    ErrorCode code;
    std::vector<std::string> parts;
  };
  const ErrorCode invalid = ErrorCode::InvalidCheckpoint;
  const ErrorCode unsupported = ErrorCode::Unsupported;
  const std::vector<Case> cases = {
      {R"({"dim": null})", invalid, {"inference/config.json: dim: key is missing"}},
      {R"({"dim": "4096"})", invalid, {"dim: expected an integer", "found \"4096\""}},
      {R"({"n_layers": 40})",
       invalid,
       {"compress_ratios: expected 41 entries (n_layers 40, n_mtp_layers 1)", "found 44"}},
      {R"({"o_groups": 3})", invalid, {"o_groups: expected a divisor of n_heads x head_dim"}},
      {R"({"n_activated_experts": 300})",
       invalid,
       {"n_activated_experts: expected at most n_routed_experts (256)"}},
      {R"({"rope_factor": null})", invalid, {"rope_factor: key is missing"}},
      {R"({"n_mtp_layers": 3})", unsupported, {"n_mtp_layers: 3 MTP blocks", "DSpark"}},
      {R"({"score_func": "sigmoid"})", unsupported, {"score_func", "\"sigmoid\""}},
      {R"({"scale_fmt": "none"})", unsupported, {"scale_fmt"}},
      {R"({"dtype": "fp4"})", unsupported, {"dtype: expected fp8 or bf16"}},
      {R"({"dtype": "int8"})",
       unsupported,
       {"dtype: expected fp4, fp8, bf16 or f32, found \"int8\""}},
  };
  for (const Case& hostile : cases) {
    SCOPED_TRACE(hostile.patch);
    expect_error([&] { parse(patched(flash_text(), hostile.patch)); }, hostile.code, hostile.parts);
  }
}

}  // namespace
}  // namespace fathom::config
