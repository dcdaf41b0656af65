#include "fathom/model/config/deepseek_v4_facts.h"

#include <gtest/gtest.h>

namespace fathom::config {
namespace {

TEST(DeepseekV4Facts, LeadingLayersAreHashed) {
  EXPECT_EQ(leading_hash_routers(1, 2),
            (std::vector<RouterKind>{RouterKind::HashTable, RouterKind::TopK}));
  EXPECT_EQ(leading_hash_routers(9, 1), std::vector<RouterKind>{RouterKind::HashTable});
}

}  // namespace
}  // namespace fathom::config
