#include "fathom/compute/tensor/arena.h"

#include <cstring>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::tensor {
namespace {

TEST(Arena, AllocationsAreAlignedAndDoNotOverlap) {
  Arena arena(1 << 26);
  std::byte* previous_end = nullptr;
  for (const Index size : {1, 63, 64, 65, 0, 1000}) {
    std::byte* data = arena.allocate(size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % Arena::kAlignment_bytes, 0U);
    EXPECT_GE(data, previous_end);
    std::memset(data, 1, to_size(size));
    previous_end = data + size;
  }
}

TEST(Arena, ScopeTakesBackWhatWasAllocatedInIt) {
  Arena arena(1 << 26);
  arena.allocate(100);
  const Index before = arena.used_bytes();
  std::byte* inner = nullptr;
  {
    const Arena::Scope scope(arena);
    inner = arena.allocate(1000);
    {
      const Arena::Scope nested(arena);
      arena.allocate(5000);
    }
    EXPECT_EQ(arena.used_bytes(), before + 1024);
  }
  EXPECT_EQ(arena.used_bytes(), before);
  EXPECT_EQ(arena.allocate(10), inner);
  EXPECT_EQ(arena.peak_bytes(), before + 1024 + 5056);
}

TEST(Arena, WhatIsKeptOutlivesItsScopeUntilItIsReleased) {
  Arena arena(1 << 26);
  const Index before = arena.used_bytes();
  const Index kept_before = arena.kept_bytes();
  std::byte* kept = nullptr;
  {
    const Arena::Scope scope(arena);
    kept = arena.allocate(64);
    arena.keep();
    arena.allocate(64);
  }
  EXPECT_EQ(arena.used_bytes(), before + 64);
  EXPECT_EQ(arena.allocate(64), kept + 64);
  arena.release(kept_before);
  arena.rewind(before);
  EXPECT_EQ(arena.allocate(64), kept);
}

TEST(Arena, UsedUpReservationIsAnErrorThatNamesTheSizesAndLeavesTheArenaUsable) {
  Arena arena(1);  // the smallest: 64 MiB
  arena.allocate(1 << 20);
  const Index before = arena.used_bytes();
  EXPECT_TRUE(testing::fails_with(ErrorCode::OutOfMemory,
                                  "67108864 bytes wanted, 66060288 of 67108864 left",
                                  [&] { arena.allocate(1 << 26); }));
  EXPECT_EQ(arena.used_bytes(), before);
  EXPECT_NE(arena.allocate(1 << 20), nullptr);
}

TEST(Arena, NegativeSizeIsABug) {
  Arena arena(1);
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::Internal, "num_bytes >= 0", [&] { arena.allocate(-1); }));
}

TEST(Arena, ReservingMoreThanTheMachineHasCostsNothing) {
  Arena first;
  Arena second;
  std::memset(first.allocate(100), 1, 100);
  std::memset(second.allocate(100), 2, 100);
  EXPECT_EQ(first.used_bytes(), 128);
}

}  // namespace
}  // namespace fathom::tensor
