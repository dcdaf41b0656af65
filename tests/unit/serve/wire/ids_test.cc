#include "fathom/serve/wire/ids.h"

#include <set>

#include <gtest/gtest.h>

namespace fathom::wire {
namespace {

TEST(Ids, AreAPrefixAnd24CharactersThatDoNotRepeat) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = new_id("call_");
    EXPECT_EQ(id.size(), 29U);
    EXPECT_EQ(id.substr(0, 5), "call_");
    EXPECT_TRUE(seen.insert(id).second);
  }
}

}  // namespace
}  // namespace fathom::wire
