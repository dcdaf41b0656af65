#include "fathom/model/config/write_keys.h"

#include <gtest/gtest.h>

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

TEST(WriteKeys, IntegralNumbersAreWrittenAsIntegers) {
  EXPECT_EQ(plain_number(10000.0).dump(), "10000");
  EXPECT_EQ(plain_number(0.5).dump(), "0.5");
  EXPECT_EQ(plain_number(1e300).dump(), "1e+300");
}

TEST(WriteKeys, CountsFitThirtyTwoBits) {
  EXPECT_EQ(gguf_count(7), 7U);
  testing::expect_error([] { gguf_count(Index{1} << 32); }, ErrorCode::Internal, {});
}

TEST(WriteKeys, FactsCarryTheArchitectureAndAbsentTokensAreLeftOut) {
  ModelConfig config = parse_config_json(testing::smollm2_config(), "c").model;
  config.bos_token = ModelConfig::kNoToken;
  GgufKeys keys("arch");
  keys.add_facts(config);
  std::vector<std::string> names;
  for (const formats::GgufWriteValue& value : keys.take()) {
    names.push_back(value.key);
  }
  const auto count = [&](const std::string& name) {
    return std::count(names.begin(), names.end(), name);
  };
  EXPECT_EQ(count("arch.feed_forward_length"), 1);
  EXPECT_EQ(count("tokenizer.ggml.eos_token_id"), 1);
  EXPECT_EQ(count("tokenizer.ggml.bos_token_id"), 0);
}

}  // namespace
}  // namespace fathom::config
