#include "fathom/model/config/config_facts.h"

#include <set>

#include <gtest/gtest.h>

#include "fathom/model/config/family_rows.h"
#include "fathom/model/config/footprint.h"

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

TEST(ConfigFacts, NoDialectOfAFamilyUsesANameTwice) {
  for (const FamilyRow& row : family_rows()) {
    for (const Dialect dialect : {Dialect::ConfigJson, Dialect::InferenceJson, Dialect::Gguf}) {
      std::set<std::string_view> names;
      const auto check = [&](std::string_view name) {
        // A family without a dialect has no names in it.
        EXPECT_TRUE(name.empty() || names.insert(name).second) << name;
        EXPECT_EQ(name.empty(), row.integers().front().names.in(dialect).empty()) << name;
      };
      for (const IntegerFact& fact : integer_facts(row.family)) {
        check(fact.names.in(dialect));
      }
      for (const NumberFact& fact : number_facts(row.family)) {
        check(fact.names.in(dialect));
      }
    }
  }
}

TEST(ConfigFacts, NameOfAMemberIsTheFamilys) {
  EXPECT_EQ(name_of(Family::DeepseekV4, &ModelConfig::num_heads, Dialect::InferenceJson),
            "n_heads");
  EXPECT_EQ(name_of(Family::Llama, &ModelConfig::mlp_hidden, Dialect::Gguf), "feed_forward_length");
  testing::expect_error(
      [] { name_of(Family::Llama, &ModelConfig::num_experts, Dialect::ConfigJson); },
      ErrorCode::Internal, {"no row in the table of facts"});
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
  const ModelConfig flash = testing::builtin("v4-flash");
  const ModelConfig llama = parse_config_json(testing::smollm2_config(), "c").model;
  const std::pair<const ModelConfig*, Index> kinds[] = {{&flash, 2}, {&flash, 3}, {&llama, 0}};
  for (const auto& [config, layer_idx] : kinds) {  // CSA, HCA, grouped
    ModelConfig largest = *config;
    for (const IntegerFact& fact : integer_facts(config->family)) {
      largest.*fact.member = fact.range.maximum;
    }
    largest.is_head_tied = false;
    largest.layers.assign(to_size(kLayerCountRange.maximum), config->layers[to_size(layer_idx)]);
    EXPECT_LT(approximate_bytes(largest), 9.2e18);
    const StoragePlan plan{numeric::WeightFormat::F32, numeric::WeightFormat::F32,
                           numeric::ScaleFormat::None};
    const double bytes = static_cast<double>(weight_bytes(largest, plan).total());
    EXPECT_GT(bytes, 0.4 * approximate_bytes(largest));
    EXPECT_GT(cache_bytes(largest, largest.max_context, kDoubleCache), 0);
    EXPECT_GT(packed_cache_bytes(largest, largest.max_context), 0);
  }
}

}  // namespace
}  // namespace fathom::config
