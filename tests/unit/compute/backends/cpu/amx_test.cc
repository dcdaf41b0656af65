#include "fathom/compute/backends/cpu/amx.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fathom::cpu {
namespace {

TEST(TileShapes, WholeTilesAreSixteenRowsOfSixtyFourBytes) {
  const TileShapes shapes = whole_tiles();
  EXPECT_EQ(shapes.palette, 1);
  for (int tile = 0; tile < kNumTiles; ++tile) {
    EXPECT_EQ(shapes.rows[tile], 16);
    EXPECT_EQ(shapes.row_bytes[tile], 64);
  }
  EXPECT_EQ(shapes.rows[kNumTiles], 0);  // the processor refuses shapes of tiles it does not have
}

#if defined(__x86_64__) && defined(__linux__)

std::string processor_flags() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("flags")) {
      return line + " ";
    }
  }
  return "";
}

TEST(Amx, IsFoundWhereTheSystemListsIt) {
  const std::string flags = processor_flags();
  ASSERT_FALSE(flags.empty());
  if (flags.find(" amx_bf16 ") == std::string::npos) {
    EXPECT_FALSE(has_amx());
  }
}

using Words = std::array<std::int32_t, 256>;

__attribute__((target("amx-tile"))) void copy_through_a_tile(const Words& from, Words& to) {
  _tile_loadd(7, from.data(), 64);
  _tile_stored(7, to.data(), 64);
}

// In a thread of its own: permission is the process's, shapes are the thread's.
TEST(TileScope, ShapesTheTilesOfItsThread) {
  if (!has_amx()) {
    GTEST_SKIP() << "this machine has no matrix tiles";
  }
  Words from;
  Words to = {};
  for (int i = 0; i < 256; ++i) {
    from[static_cast<std::size_t>(i)] = i;
  }
  std::thread([&] {
    TileShapes shapes = whole_tiles();
    shapes.rows[7] = 3;
    const TileScope scope(shapes);
    copy_through_a_tile(from, to);
  }).join();
  EXPECT_TRUE(std::equal(to.begin(), to.begin() + 48, from.begin()));
  EXPECT_TRUE(std::all_of(to.begin() + 48, to.end(), [](std::int32_t word) { return word == 0; }));
}

#endif

}  // namespace
}  // namespace fathom::cpu
