#include "fathom/model/config/read_config.h"

#include <gtest/gtest.h>

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

TEST(ReadConfig, ModelTypeAndArchitectureChooseTheFamily) {
  EXPECT_EQ(testing::builtin("v4-flash").family, Family::DeepseekV4);
  EXPECT_EQ(parse_config_json(testing::smollm2_config(), "c").model.family, Family::Llama);
  EXPECT_EQ(gguf_architecture(Family::DeepseekV4), "deepseek4");
  EXPECT_EQ(gguf_architecture(Family::Llama), "llama");
}

TEST(ReadConfig, AnUnknownFamilyIsRefusedWithTheKnownOnes) {
  testing::expect_error(
      [] { parse_config_json(R"({"model_type": "bert"})", "c.json"); }, ErrorCode::Unsupported,
      {"c.json: model_type: expected \"deepseek_v4\", \"deepseek_v41\", \"llama\" or \"mistral\","
       " found \"bert\""});
  formats::GgufHeader header;
  testing::expect_error([&] { parse_gguf_config(header, "g.gguf"); }, ErrorCode::InvalidCheckpoint,
                        {"g.gguf: general.architecture: key is missing"});
  header.metadata["general.architecture"] = std::string("bert");
  testing::expect_error([&] { parse_gguf_config(header, "g.gguf"); }, ErrorCode::Unsupported,
                        {"expected \"deepseek4\" or \"llama\", found \"bert\""});
}

}  // namespace
}  // namespace fathom::config
