#include "fathom/model/config/adapter_targets.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

ModelConfig flash() {
  return testing::builtin("v4-flash");
}

TEST(AdapterTargets, GroupsAndRolesHaveRanks) {
  const auto found = parse_adapter_targets("experts=8,query_up", flash(), 16);
  ASSERT_EQ(found.size(), 4U);
  EXPECT_EQ(found[0].role, WeightRole::QueryUp);
  EXPECT_EQ(found[0].rank, 16);
  EXPECT_EQ(found[1].role, WeightRole::ExpertGate);
  EXPECT_EQ(found[1].rank, 8);
  EXPECT_EQ(found[3].role, WeightRole::ExpertDown);
}

TEST(AdapterTargets, TheLaterOfTwoRanksCounts) {
  const auto found = parse_adapter_targets("attention=16,output_up=2", flash(), 1);
  ASSERT_EQ(found.size(), 5U);
  EXPECT_EQ(found[3].rank, 16);
  EXPECT_EQ(found[4].role, WeightRole::OutputUp);
  EXPECT_EQ(found[4].rank, 2);
}

TEST(AdapterTargets, AnUnknownNameListsWhatThereIs) {
  const auto message =
      "targets: the model has no \"mlp\", expected some of: attention, compressor, router, "
      "experts, shared, query_down, query_up, key_value, output_down, output_up";
  for (const char* text : {"mlp=4", "attention,mlp"}) {
    EXPECT_TRUE(fathom::testing::fails_with(ErrorCode::InvalidArgument, message,
                                            [&] { parse_adapter_targets(text, flash(), 8); }));
  }
  for (const char* text : {"", "attention,", "embedding", "indexer_query_up", "query"}) {
    EXPECT_TRUE(fathom::testing::fails_with(ErrorCode::InvalidArgument, "the model has no", [&] {
      parse_adapter_targets(text, flash(), 8);
    })) << text;
  }
}

TEST(AdapterTargets, RanksOutOfRangeAreNamed) {
  for (const char* text : {"attention=0", "attention=-1", "attention=x", "attention=4x",
                           "attention=", "attention=4097", "attention=99999999999999999999"}) {
    EXPECT_TRUE(fathom::testing::fails_with(ErrorCode::InvalidArgument,
                                            "expected a rank of 1 to 4096",
                                            [&] { parse_adapter_targets(text, flash(), 8); }))
        << text;
  }
}

TEST(AdapterTargets, OnlyLinearsCanBeAdapted) {
  EXPECT_TRUE(can_be_adapted(WeightRole::SharedDown));
  EXPECT_FALSE(can_be_adapted(WeightRole::Embedding));
  EXPECT_FALSE(can_be_adapted(WeightRole::IndexerQueryUp));
  EXPECT_FALSE(can_be_adapted(WeightRole::RouterBias));
}

}  // namespace
}  // namespace fathom::config
