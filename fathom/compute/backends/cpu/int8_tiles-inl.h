// Panels of weights (int8_panels-inl.h) times many tokens in matrix tiles (AMX).
//
// A tile product adds 64 products of bytes for 16 tokens and 16 rows. A block has 32, of
// activations that need nine bits: code minus zero, -252 to 252, is split into two halves that fit
// a byte, and the weight's codes stand twice in a tile:
//
//   activations  [token 16][a 32 | b 32]               a = v >> 1, b = v - a
//   weights      [step 8 | step 8][row 16][column 4]   a panel's block, twice
//   sums         [token 16][row 16]                    int32, exact
//
// The sums are those of the other kernel shapes, and are scaled and added by the same arithmetic.
#if defined(FATHOM_CPU_INT8_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_INT8_TILES_INL_H_
#undef FATHOM_CPU_INT8_TILES_INL_H_
#else
#define FATHOM_CPU_INT8_TILES_INL_H_
#endif

#include <algorithm>

#include "fathom/compute/backends/cpu/amx.h"
#include "fathom/compute/backends/cpu/int8_panels-inl.h"
#include "fathom/compute/backends/cpu/simd-inl.h"

#if HWY_TARGET == HWY_AVX3_DL

FATHOM_BEFORE_NAMESPACE_WITH("avx512vnni,amx-tile,amx-int8");
namespace fathom::cpu::FATHOM_NAMESPACE {

inline constexpr Index kTileBytes = 1024;
inline constexpr Index kSetTokens = 16;   // of one tile
inline constexpr Index kTiledSets = 4;    // whose tiles stay in the first-level cache
inline constexpr Index kTiledBlocks = 4;  // of a panel, held in tile registers

// Some blocks of the activations of up to 64 tokens.
struct TiledTokens {
  alignas(64) std::uint8_t codes[kTiledSets][kTiledBlocks][kTileBytes];
  alignas(64) float scales[kTiledSets][kTiledBlocks][kSetTokens];
  alignas(64) float totals[kTiledSets][kTiledBlocks][kSetTokens];  // as BlockOfToken's
};

// The same blocks of a panel: codes twice, as a tile has them.
struct TiledPanel {
  alignas(64) PanelCode codes[kTiledBlocks][kTileBytes];
  alignas(64) float scales[kTiledBlocks][kPanelRows];
  alignas(64) float minima[kTiledBlocks][kPanelRows];
};

// Sums of a panel's rows for 64 tokens.
using TiledSums = float[kTiledSets][kSetTokens][kPanelRows];

// Two halves of the 32 codes minus zero, in arithmetic of bytes: avg(c, 255 - z) is (c - z) >> 1,
// plus 128.
HWY_INLINE void store_halves(const std::uint8_t* codes, std::int32_t zero, std::uint8_t* to) {
  const __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
  const __m256i z = _mm256_set1_epi8(static_cast<char>(zero));
  const __m256i minus_one = _mm256_set1_epi8(-1);
  const __m256i shifted = _mm256_avg_epu8(c, _mm256_xor_si256(z, minus_one));
  const __m256i a = _mm256_xor_si256(shifted, _mm256_set1_epi8(-128));
  const __m256i b = _mm256_sub_epi8(_mm256_sub_epi8(c, z), a);
  _mm256_store_si256(reinterpret_cast<__m256i*>(to), a);
  _mm256_store_si256(reinterpret_cast<__m256i*>(to) + 1, b);
}

// Blocks [first_block, first_block + num_blocks) of the tokens. What is missing in a set, and
// blocks behind the last, become zeros.
template <bool kHasMinimum>
HWY_INLINE void tile_tokens(const TokenRow* tokens,
                            Index num_tokens,
                            Index first_block,
                            Index num_blocks,
                            TiledTokens& out) {
  const Index padded = ceil_div(num_tokens, kSetTokens) * kSetTokens;
  for (Index token = 0; token < padded; ++token) {
    const Index set = token / kSetTokens;
    const Index row = token % kSetTokens;
    for (Index block = 0; block < kTiledBlocks; ++block) {
      std::uint8_t* codes = out.codes[set][block] + row * 2 * kBlock;
      float& scale = out.scales[set][block][row];
      float& total = out.totals[set][block][row];
      if (token >= num_tokens || block >= num_blocks) {
        std::fill_n(codes, 2 * kBlock, std::uint8_t{0});
        scale = 0;
        total = 0;
        continue;
      }
      const TokenRow& x = tokens[token];
      const Index at = first_block + block;
      store_halves(x.codes + at * kBlock, x.zeros[at], codes);
      scale = x.scales[at];
      if constexpr (kHasMinimum) {
        total = static_cast<float>(x.sums[at]) * x.scales[at];
      }
    }
  }
}

template <bool kHasNibbles, typename Scales, bool kHasMinimum>
HWY_INLINE void tile_panel(const std::uint8_t* blocks,
                           numeric::WeightFormat format,
                           Index num_blocks,
                           TiledPanel& out) {
  const numeric::PanelBlock shape = numeric::panel_block(format);
  for (Index block = 0; block < num_blocks; ++block) {
    const std::uint8_t* from = blocks + block * shape.bytes();
    PanelCode* codes = out.codes[block];
    spread_codes<kHasNibbles>(from + shape.codes_at(), numeric::nibble_codes(format), codes);
    for (Index step = 0; step < kSteps; ++step) {
      const __m512i rows = _mm512_load_si512(codes + step * kStepBytes);
      _mm512_store_si512(codes + (kSteps + step) * kStepBytes, rows);
    }
    hn::Store(Scales::read(from, 0), D(), out.scales[block]);
    if constexpr (kHasMinimum) {
      hn::Store(F16Scales::read(from + shape.minima_at(), 0), D(), out.minima[block]);
    }
  }
}

HWY_INLINE void load_weight_tiles(const TiledPanel& panel) {
  constexpr int kStride = 64;
  // The intrinsics do not tell the compiler that they read memory.
  asm volatile("" ::: "memory");
  _tile_loadd(4, panel.codes[0], kStride);
  _tile_loadd(5, panel.codes[1], kStride);
  _tile_loadd(6, panel.codes[2], kStride);
  _tile_loadd(7, panel.codes[3], kStride);
}

// Exact sums of kTiledBlocks blocks for 16 tokens.
using WholeSums = std::int32_t[kTiledBlocks][kSetTokens][kPanelRows];
HWY_INLINE void multiply_tiles(const std::uint8_t (&codes)[kTiledBlocks][kTileBytes],
                               WholeSums& sums) {
  constexpr int kStride = 64;
  asm volatile("" ::: "memory");
  _tile_zero(0);
  _tile_loadd(2, codes[0], kStride);
  _tile_dpbssd(0, 2, 4);
  _tile_zero(1);
  _tile_loadd(3, codes[1], kStride);
  _tile_dpbssd(1, 3, 5);
  _tile_stored(0, sums[0], kStride);
  _tile_stored(1, sums[1], kStride);
  _tile_zero(0);
  _tile_loadd(2, codes[2], kStride);
  _tile_dpbssd(0, 2, 6);
  _tile_zero(1);
  _tile_loadd(3, codes[3], kStride);
  _tile_dpbssd(1, 3, 7);
  _tile_stored(0, sums[2], kStride);
  _tile_stored(1, sums[3], kStride);
  asm volatile("" ::: "memory");
}

// Adds what `whole` is for one set of tokens.
template <typename Scales, bool kHasMinimum>
HWY_INLINE void add_whole_sums(const WholeSums& whole,
                               const TiledPanel& panel,
                               const TiledTokens& tokens,
                               Index set,
                               Index num_blocks,
                               TiledSums& sums) {
  V sum[kSetTokens];
#pragma GCC unroll 16
  for (Index t = 0; t < kSetTokens; ++t) {
    sum[t] = hn::Load(D(), sums[set][t]);
  }
  for (Index block = 0; block < num_blocks; ++block) {
    const BlockOfRows rows = {hn::Zero(D32()), hn::Load(D(), panel.scales[block]),
                              hn::Load(D(), panel.minima[block])};
#pragma GCC unroll 16
    for (Index t = 0; t < kSetTokens; ++t) {
      const BlockOfToken token = {hn::Zero(D32()), hn::Set(D(), tokens.scales[set][block][t]),
                                  hn::Set(D(), tokens.totals[set][block][t])};
      sum[t] =
          add_block<Scales, kHasMinimum>(sum[t], hn::Load(D32(), whole[block][t]), rows, token);
    }
  }
#pragma GCC unroll 16
  for (Index t = 0; t < kSetTokens; ++t) {
    hn::Store(sum[t], D(), sums[set][t]);
  }
}

// What some blocks of a panel add to the sums of all tokens. Tiles of all sets come first: what a
// tile stored is read faster a while later.
template <typename Scales, bool kHasMinimum>
HWY_INLINE void add_tiled_panel(const TiledPanel& panel,
                                const TiledTokens& tokens,
                                Index num_sets,
                                Index num_blocks,
                                TiledSums& sums) {
  alignas(64) WholeSums whole[kTiledSets];
  load_weight_tiles(panel);
  for (Index set = 0; set < num_sets; ++set) {
    multiply_tiles(tokens.codes[set], whole[set]);
  }
  for (Index set = 0; set < num_sets; ++set) {
    add_whole_sums<Scales, kHasMinimum>(whole[set], panel, tokens, set, num_blocks, sums);
  }
}

}  // namespace fathom::cpu::FATHOM_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // HWY_AVX3_DL

#endif  // per-target include guard
