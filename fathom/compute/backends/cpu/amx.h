// Intel's matrix unit (AMX): whether this process may use it, and shaping its registers.
//
// What is computed with it stands with the kernels. State is per thread: a kernel makes a TileScope
// in every tile of its loop, because it does not know which thread runs it.
#pragma once

#include <cstdint>

namespace fathom::cpu {

// Whether the processor multiplies tiles of int8 and of BF16 and converts to BF16 in AVX-512
// registers, and the operating system keeps the tile registers of this process's threads. The first
// call asks the system for that.
bool has_amx();

inline constexpr int kNumTiles = 8;
inline constexpr int kMostTileRows = 16;
inline constexpr int kMostTileRowBytes = 64;

// Rows and bytes per row of the eight tile registers, as ldtilecfg reads them.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

// All eight tiles with 16 rows of 64 bytes.
TileShapes whole_tiles();

// Shapes the calling thread's tile registers for as long as it lives. Needs has_amx().
class TileScope {
 public:
  explicit TileScope(const TileShapes& shapes) noexcept;
  ~TileScope();
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
};

}  // namespace fathom::cpu
