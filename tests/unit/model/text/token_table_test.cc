#include "fathom/model/text/token_table.h"

#include <gtest/gtest.h>

namespace fathom::text {
namespace {

TEST(TokenTable, FindsEveryTokenByItsBytesAndNoOther) {
  constexpr std::int32_t kNumTokens = 20000;
  TokenTable table;
  EXPECT_EQ(table.find("0"), kNoToken);
  for (std::int32_t id = kNumTokens - 1; id >= 0; --id) {
    table.set(id, std::string(static_cast<std::size_t>(id % 11), 'x') + std::to_string(id));
    ASSERT_TRUE(table.make_findable(id));
  }
  EXPECT_EQ(table.num_ids(), kNumTokens);
  for (std::int32_t id = 0; id < kNumTokens; ++id) {
    ASSERT_EQ(table.find(table.bytes(id)), id);
  }
  EXPECT_EQ(table.find("20000"), kNoToken);
  EXPECT_EQ(table.find(std::string(1000, 'x')), kNoToken);
  EXPECT_EQ(table.bytes(-1), "");
  EXPECT_EQ(table.bytes(kNumTokens), "");
}

TEST(TokenTable, TheSameBytesTwiceAreRefusedAndUnfindableOnesAreNotFound) {
  TokenTable table;
  table.set(0, "a");
  table.set(1, "a");
  table.set(2, "b");
  EXPECT_TRUE(table.make_findable(0));
  EXPECT_FALSE(table.make_findable(1));
  EXPECT_EQ(table.find("a"), 0);
  EXPECT_EQ(table.find("b"), kNoToken);
  EXPECT_EQ(table.bytes(2), "b");
}

TEST(MergeTable, FindsPairsInTheirOrderOnly) {
  MergeTable table;
  EXPECT_EQ(table.find(0, 1).rank, Merge::kNever);
  table.reserve(3000);
  for (std::int32_t i = 0; i < 3000; ++i) {
    ASSERT_TRUE(table.add(i, i + 1, {static_cast<std::uint32_t>(i), 2 * i}));
  }
  EXPECT_FALSE(table.add(7, 8, {0, 0}));
  for (std::int32_t i = 0; i < 3000; ++i) {
    ASSERT_EQ(table.find(i, i + 1).token, 2 * i);
    ASSERT_EQ(table.find(i + 1, i).rank, Merge::kNever);
  }
}

}  // namespace
}  // namespace fathom::text
