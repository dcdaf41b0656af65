#include "fathom/compute/backends/cpu/amx.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <unistd.h>

#include <sys/syscall.h>
#endif

#include "fathom/base/core/error.h"

namespace fathom::cpu {

TileShapes whole_tiles() {
  TileShapes shapes;
  for (int tile = 0; tile < kNumTiles; ++tile) {
    shapes.rows[tile] = kMostTileRows;
    shapes.row_bytes[tile] = kMostTileRowBytes;
  }
  return shapes;
}

#if defined(__x86_64__)

namespace {

struct Cpuid {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
};

// Zeros where the processor has no such leaf.
Cpuid cpuid(unsigned leaf, unsigned subleaf) {
  Cpuid words;
  if (__get_cpuid_count(leaf, subleaf, &words.eax, &words.ebx, &words.ecx, &words.edx) == 0) {
    return {};
  }
  return words;
}

bool has_bit(unsigned word, int bit) {
  return (word >> bit & 1U) != 0;
}

bool processor_has_amx() {
  const unsigned features = cpuid(7, 0).edx;
  constexpr int kAmxBf16 = 22;
  constexpr int kAmxTile = 24;
  constexpr int kAmxInt8 = 25;
  constexpr int kAvx512Bf16 = 5;
  return has_bit(features, kAmxBf16) && has_bit(features, kAmxTile) &&
         has_bit(features, kAmxInt8) && has_bit(cpuid(7, 1).eax, kAvx512Bf16);
}

// Linux gives a process the 8 KB of tile registers per thread only when it asks.
bool system_grants_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// g++ ignores the attribute on constructors.
__attribute__((target("amx-tile"))) void configure(const TileShapes& shapes) {
  asm volatile("" ::: "memory");  // the intrinsic tells of 8 bytes that it reads only
  _tile_loadconfig(&shapes);
}

__attribute__((target("amx-tile"))) void release() {
  _tile_release();
}

}  // namespace

bool has_amx() {
  static const bool kHasAmx = processor_has_amx() && system_grants_tiles();
  return kHasAmx;
}

TileScope::TileScope(const TileShapes& shapes) noexcept {
  configure(shapes);
}

TileScope::~TileScope() {
  release();
}

#else

bool has_amx() {
  return false;
}

TileScope::TileScope(const TileShapes& /*shapes*/) noexcept {
  FATHOM_DCHECK(false);
}

TileScope::~TileScope() = default;

#endif

}  // namespace fathom::cpu
