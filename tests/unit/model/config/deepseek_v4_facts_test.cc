#include "fathom/model/config/deepseek_v4_facts.h"

#include <gtest/gtest.h>

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

TEST(DeepseekV4Facts, MoreStreamsThanTheKernelsHoldAreRefusedByName) {
  const std::string text = testing::checkpoint_config("flash-tiny");
  const std::string most = testing::patched(text, R"({"hc_mult": 16})");
  EXPECT_EQ(parse_config_json(most, "config.json").model.num_streams, 16);
  for (const char* patch : {R"({"hc_mult": 17})", R"({"hc_mult": 64})"}) {
    testing::expect_error([&] { parse_config_json(testing::patched(text, patch), "config.json"); },
                          ErrorCode::InvalidCheckpoint, {"config.json", "hc_mult", "16"});
  }
}

TEST(DeepseekV4Facts, LeadingLayersAreHashed) {
  EXPECT_EQ(leading_hash_routers(1, 2),
            (std::vector<RouterKind>{RouterKind::HashTable, RouterKind::TopK}));
  EXPECT_EQ(leading_hash_routers(9, 1), std::vector<RouterKind>{RouterKind::HashTable});
}

}  // namespace
}  // namespace fathom::config
