#include "fathom/model/config/config_facts.h"

#include <set>

#include <gtest/gtest.h>

#include "fathom/model/config/footprint.h"

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

TEST(ConfigFacts, NoDialectUsesANameTwice) {
  for (const Dialect dialect : {Dialect::ConfigJson, Dialect::InferenceJson, Dialect::Gguf}) {
    std::set<std::string_view> names;
    for (const IntegerFact& fact : integer_facts()) {
      EXPECT_TRUE(names.insert(fact.names.in(dialect)).second) << fact.names.in(dialect);
    }
    for (const NumberFact& fact : number_facts()) {
      EXPECT_TRUE(names.insert(fact.names.in(dialect)).second) << fact.names.in(dialect);
    }
  }
}

// The sum of all tensors in floating point, which cannot overflow.
double approximate_bytes(const ModelConfig& config) {
  double bytes = 0;
  for (const WeightSpec& spec : weight_table(config)) {
    double elements = static_cast<double>(std::max<Index>(1, spec.num_experts));
    for (const Index extent : spec.shape) {
      elements *= static_cast<double>(extent);
    }
    bytes += elements * 4;
  }
  return bytes;
}

TEST(ConfigFacts, SizesOfTheLargestConfigThatIsAcceptedDoNotOverflow) {
  ModelConfig config = testing::builtin("v4-flash");
  for (const IntegerFact& fact : integer_facts()) {
    config.*fact.member = fact.range.maximum;
  }
  for (const Index layer_idx : {2, 3}) {  // CSA, HCA
    ModelConfig largest = config;
    largest.layers.assign(to_size(kLayerCountRange.maximum), config.layers[to_size(layer_idx)]);
    EXPECT_LT(approximate_bytes(largest), 9.2e18);
    const StoragePlan plan{numeric::WeightFormat::F32, numeric::WeightFormat::F32,
                           numeric::ScaleFormat::None};
    const double bytes = static_cast<double>(weight_bytes(largest, plan).total());
    EXPECT_GT(bytes, 0.4 * approximate_bytes(largest));
    EXPECT_GT(cache_bytes(largest, largest.max_context, 8), 0);
    EXPECT_GT(packed_cache_bytes(largest, largest.max_context), 0);
  }
}

TEST(ConfigFacts, MoreStreamsThanTheKernelsHoldAreRefusedByName) {
  const std::string text = testing::checkpoint_config("flash-tiny");
  const std::string most = testing::patched(text, R"({"hc_mult": 16})");
  EXPECT_EQ(parse_config_json(most, "config.json").model.num_streams, 16);
  for (const char* patch : {R"({"hc_mult": 17})", R"({"hc_mult": 64})"}) {
    testing::expect_error([&] { parse_config_json(testing::patched(text, patch), "config.json"); },
                          ErrorCode::InvalidCheckpoint, {"config.json", "hc_mult", "16"});
  }
}

TEST(ConfigFacts, LeadingLayersAreHashed) {
  EXPECT_EQ(leading_hash_routers(1, 2),
            (std::vector<RouterKind>{RouterKind::HashTable, RouterKind::TopK}));
  EXPECT_EQ(leading_hash_routers(9, 1), std::vector<RouterKind>{RouterKind::HashTable});
}

}  // namespace
}  // namespace fathom::config
