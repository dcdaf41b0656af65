#include "fathom/model/weights/name_parts.h"

#include <gtest/gtest.h>

namespace fathom::weights {
namespace {

TEST(NameParts, PrefixIsRemovedIfItIsThere) {
  std::string_view text = "blk.3.x";
  EXPECT_FALSE(consume(text, "layers."));
  EXPECT_EQ(text, "blk.3.x");
  EXPECT_TRUE(consume(text, "blk."));
  EXPECT_EQ(text, "3.x");
}

TEST(NameParts, OnlyANumberBeforeADotIsANumber) {
  std::string_view text = "12.weight";
  EXPECT_EQ(consume_number(text), 12);
  EXPECT_EQ(text, "weight");
  for (const char* bad : {"", "x.", "12", "12x.", "-1.x", "99999999999999999999.x", ".x"}) {
    std::string_view other = bad;
    EXPECT_EQ(consume_number(other), std::nullopt) << bad;
    EXPECT_EQ(other, bad);
  }
}

}  // namespace
}  // namespace fathom::weights
