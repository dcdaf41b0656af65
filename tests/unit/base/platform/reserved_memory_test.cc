#include "fathom/base/platform/reserved_memory.h"

#include <gtest/gtest.h>

namespace fathom::platform {
namespace {

TEST(ReservedMemory, FarMoreThanTheMachineHasIsZeroedAndWritableWhereTouched) {
  constexpr Index kWanted_bytes = Index{1} << 38;
  const ReservedMemory memory = reserve_memory(kWanted_bytes, 1 << 20);
  ASSERT_NE(memory.data, nullptr);
  EXPECT_GE(memory.num_bytes, 1 << 20);
  EXPECT_LE(memory.num_bytes, kWanted_bytes);
  for (const Index at : {Index{0}, memory.num_bytes / 2, memory.num_bytes - 1}) {
    EXPECT_EQ(memory.data[at], std::byte{0});
    memory.data[at] = std::byte{7};
    EXPECT_EQ(memory.data[at], std::byte{7});
  }
  release_memory(memory);
}

TEST(ReservedMemory, MoreThanTheAddressSpaceIsHalvedUntilItFits) {
  constexpr Index kWanted_bytes = Index{1} << 60;
  const ReservedMemory memory = reserve_memory(kWanted_bytes, 1 << 20);
  ASSERT_NE(memory.data, nullptr);
  EXPECT_LT(memory.num_bytes, kWanted_bytes);
  release_memory(memory);
}

TEST(ReservedMemory, NothingThatReachesTheMinimumIsNull) {
  const ReservedMemory memory = reserve_memory(Index{1} << 60, Index{1} << 59);
  EXPECT_EQ(memory.data, nullptr);
  EXPECT_EQ(memory.num_bytes, 0);
  release_memory(memory);
}

}  // namespace
}  // namespace fathom::platform
