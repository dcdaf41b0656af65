#include "fathom/base/platform/reserved_memory.h"

#include <utility>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::platform {
namespace {

TEST(ReservedMemory, FarMoreThanTheMachineHasIsZeroedAndWritableWhereTouched) {
  constexpr Index kWanted_bytes = Index{1} << 38;
  const ReservedMemory memory("test", kWanted_bytes, 1 << 20);
  EXPECT_GE(memory.num_bytes(), 1 << 20);
  EXPECT_LE(memory.num_bytes(), kWanted_bytes);
  for (const Index at : {Index{0}, memory.num_bytes() / 2, memory.num_bytes() - 1}) {
    EXPECT_EQ(memory.data()[at], std::byte{0});
    memory.data()[at] = std::byte{7};
    EXPECT_EQ(memory.data()[at], std::byte{7});
  }
}

TEST(ReservedMemory, MoreThanTheAddressSpaceIsHalvedUntilItFits) {
  constexpr Index kWanted_bytes = Index{1} << 60;
  const ReservedMemory memory("test", kWanted_bytes, 1 << 20);
  EXPECT_NE(memory.data(), nullptr);
  EXPECT_LT(memory.num_bytes(), kWanted_bytes);
}

TEST(ReservedMemory, ItMovesWithItsRange) {
  ReservedMemory memory("test", 1 << 20);
  std::byte* const data = memory.data();
  data[5] = std::byte{7};
  ReservedMemory other;
  other = std::move(memory);
  EXPECT_EQ(other.data(), data);
  EXPECT_EQ(other.num_bytes(), 1 << 20);
  EXPECT_EQ(other.data()[5], std::byte{7});
}

TEST(ReservedMemory, OfNothingItIsNull) {
  const ReservedMemory memory("test", 0);
  EXPECT_EQ(memory.data(), nullptr);
  EXPECT_EQ(memory.num_bytes(), 0);
  memory.ask_for_huge_pages();
}

TEST(ReservedMemory, WhatTheSystemDoesNotGrantIsAnErrorThatSaysWhatFor) {
  EXPECT_TRUE(testing::fails_with(
      ErrorCode::OutOfMemory, "panels: the system does not grant 576460752303423488 bytes",
      [] { ReservedMemory("panels", Index{1} << 60, Index{1} << 59); }));
}

}  // namespace
}  // namespace fathom::platform
