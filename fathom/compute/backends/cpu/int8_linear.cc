// Integer matrix products: panels of 16 rows of the weight, times tokens in int8 blocks.
//
// Weights that are not in panels are put into one, 512 columns at a time. Three shapes with the
// same arithmetic, block by block (int8_panels-inl.h): a few tokens, which wait for memory,
// multiply the panel's bytes as they are read; for more tokens a chunk of 512 columns is spread
// into the first-level cache and multiplied with every token of the tile, in vectors or, where the
// processor has them, in matrix tiles (int8_tiles-inl.h).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/int8_linear.cc"
#include <algorithm>
#include <type_traits>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/expert_tiles.h"
#include "fathom/compute/backends/cpu/int8_panels-inl.h"
#include "fathom/compute/backends/cpu/int8_rounding-inl.h"
#include "fathom/compute/backends/cpu/int8_tiles-inl.h"
#include "fathom/compute/backends/cpu/isa_table.h"
#include "fathom/compute/backends/cpu/simd-inl.h"

// Compiled again in int8_linear_dot.cc and int8_linear_i8mm.cc.
#if FATHOM_IS_COMPILED
#if HWY_TARGET == HWY_AVX3_DL
FATHOM_BEFORE_NAMESPACE_WITH("avx512vnni,amx-tile,amx-int8");
#else
FATHOM_BEFORE_DOT_NAMESPACE();
#endif
namespace fathom::cpu::FATHOM_NAMESPACE {
namespace {

// How much of a product one tile of the loop is: of vectors, and of matrix tiles.
constexpr Index kTileTokens = 256;
constexpr Index kTiledTokens = 64;
[[maybe_unused]] constexpr Index kFewTokens = 8;  // what compute_few takes at most
// What it takes in passes over the same rows, where more tokens would go through matrix tiles: what
// a tile costs beside its products has to be shared by that many.
constexpr Index kPassedTokens = 32;
constexpr Index kTiledRows = 256;
// Panels that share one reading of the activations.
constexpr Index kMicroPanels = HWY_TARGET == HWY_AVX3_DL ? 2 : 1;
constexpr Index kMicroTokens = kRegisters == 1 ? 6 : FATHOM_HAS_I8MM == 1 ? 4 : 3;

// Sums of a tile between chunks: [panel][token][row].
using Sums = float[kMicroPanels][kTileTokens][kPanelRows];

// A chunk of rows put into a panel.
struct PackedChunk {
  static constexpr Index kMostBlockBytes = kPanelRows * (kBlock + 4);
  alignas(64) std::uint8_t bytes[kChunkBlocks * kMostBlockBytes];
};

struct ChunkBytes {
  const std::uint8_t* begin;
  const std::uint8_t* end;
};

// Blocks [first_block, first_block + num_blocks) of the panel from first_row on, as they lie in
// memory. No bytes of a weight that is not in panels.
HWY_INLINE ChunkBytes chunk_in_place(const numeric::WeightView& weight,
                                     Index first_row,
                                     Index first_block,
                                     Index num_blocks) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(weight.data);
  if (weight.layout != numeric::WeightLayout::Panels) {
    return {data, data};
  }
  const Index block_bytes = numeric::panel_block(weight.format).bytes();
  const std::uint8_t* begin =
      data + first_row * weight.row_stride_bytes + first_block * block_bytes;
  return {begin, begin + num_blocks * block_bytes};
}

// The same blocks, in place or, where the weight is not in panels, in `packed`.
HWY_INLINE const std::uint8_t* read_panel(const numeric::WeightView& weight,
                                          Index first_row,
                                          Index first_block,
                                          Index num_blocks,
                                          PackedChunk& packed) {
  if (weight.layout == numeric::WeightLayout::Panels) {
    return chunk_in_place(weight, first_row, first_block, num_blocks).begin;
  }
  numeric::pack_panel(weight, first_row, first_block, num_blocks, packed.bytes);
  return packed.bytes;
}

#if FATHOM_HAS_DOT

HWY_INLINE const ColumnCode* block_codes(const std::uint8_t* codes, ColumnCode* /*spread*/) {
  return codes;
}

#else

// A block's codes, as wide as they are multiplied.
HWY_INLINE const ColumnCode* block_codes(const std::uint8_t* codes, ColumnCode* spread) {
  std::copy_n(codes, kBlock, spread);
  return spread;
}

#endif

// A token's results of one panel, without those of rows that only fill it up.
HWY_INLINE void store_rows(const float* sums, Index count, float* out) {
  if (count < kPanelRows) {
    std::copy_n(sums, count, out);
    return;
  }
  store_lanes(load_lanes(sums), out);
}

// A part of some panels, from first_row on. Sums begin at zero in the first of a row's chunks.
// Those of the last are results, which go to where they belong: they lie far from each other, and
// stored all together they took an eighth of the time.
struct ChunkOfPanels {
  Index first_row;
  Index first_block;
  Index num_blocks;
  bool is_first;
  bool gives_results;
};

// What is multiplied after this chunk, fetched beside its blocks: weights are read once, and few
// tokens leave little time to wait for memory.
constexpr Index kBytesPerBlock = 3 * kLineBytes;  // of each panel
HWY_INLINE void read_ahead(const ChunkBytes& bytes, Index block) {
  const std::uint8_t* from = bytes.begin + block * kBytesPerBlock;
  if (from >= bytes.end) {
    return;
  }
  for (Index at = 0; at < kBytesPerBlock; at += kLineBytes) {
    fetch_ahead(from + at);
  }
}

// sums += kPanels panels times kTokens tokens from `token` on. `ahead`: of each panel's next chunk,
// what is not fetched yet.
template <typename Scales, bool kHasMinimum, Index kPanels, Index kTokens>
HWY_INLINE void micro(const ReadyPanel* panels,
                      const ChunkBytes* ahead,
                      const TokenRow* tokens,
                      const ChunkOfPanels& chunk,
                      Index token,
                      Sums& sums) {
  V sum[to_size(kRegisters)][to_size(kPanels)][to_size(kTokens)];
  for (Index i = 0; i < kRegisters; ++i) {
    for (Index p = 0; p < kPanels; ++p) {
      for (Index t = 0; t < kTokens; ++t) {
        sum[i][p][t] =
            chunk.is_first ? hn::Zero(D()) : hn::Load(D(), sums[p][token + t] + i * kWidth);
      }
    }
  }
  for (Index block = 0; block < chunk.num_blocks; ++block) {
    const PanelCode* codes[to_size(kPanels)];
    for (Index p = 0; p < kPanels; ++p) {
      codes[p] = panels[p].codes + block * panels[p].block_stride;
      read_ahead(ahead[p], block);
    }
    const ColumnCode* x[to_size(kTokens)];
    ColumnCode spread[to_size(kTokens)][kBlock];
    for (Index t = 0; t < kTokens; ++t) {
      x[t] = block_codes(tokens[token + t].codes + (chunk.first_block + block) * kBlock, spread[t]);
    }
    for (Index i = 0; i < kRegisters; ++i) {
      Products products[to_size(kPanels)][to_size(kTokens)];
#if FATHOM_HAS_I8MM
      static_assert(kPanels == 1);
#pragma GCC unroll 8
      for (Index t = 0; t < kTokens; t += 2) {
        Products other;  // of a token that is not there
        multiply_pair(codes[0] + i * kWidth * kStepColumns, x[t], x[std::min(t + 1, kTokens - 1)],
                      products[0][t], t + 1 < kTokens ? products[0][t + 1] : other);
      }
#else
#pragma GCC unroll 8
      for (Index step = 0; step < kSteps; ++step) {
        const Index at = step * kStepBytes + i * kWidth * kStepColumns;
#pragma GCC unroll 8
        for (Index t = 0; t < kTokens; ++t) {
          const Products::Columns columns = Products::columns(x[t] + step * kStepColumns);
          for (Index p = 0; p < kPanels; ++p) {
            products[p][t].add(Products::load(codes[p] + at), columns);
          }
        }
      }
#endif
#pragma GCC unroll 8
      for (Index t = 0; t < kTokens; ++t) {
        const auto of_token =
            block_of_token<kHasMinimum>(tokens[token + t], chunk.first_block + block);
        for (Index p = 0; p < kPanels; ++p) {
          const BlockOfRows rows = {hn::Load(D32(), panels[p].minus_sums[block] + i * kWidth),
                                    hn::Load(D(), panels[p].scales[block] + i * kWidth),
                                    hn::Load(D(), panels[p].minima[block] + i * kWidth)};
          sum[i][p][t] = add_block<Scales, kHasMinimum>(
              sum[i][p][t], products[p][t].total(rows.minus_sum, of_token.zero), rows, of_token);
        }
      }
    }
  }
  // Unrolled, or g++ keeps the sums in memory.
#pragma GCC unroll 8
  for (Index t = 0; t < kTokens; ++t) {
#pragma GCC unroll 8
    for (Index p = 0; p < kPanels; ++p) {
      float* to = chunk.gives_results ? tokens[token + t].out + chunk.first_row + p * kPanelRows
                                      : sums[p][token + t];
#pragma GCC unroll 8
      for (Index i = 0; i < kRegisters; ++i) {
        hn::StoreU(sum[i][p][t], D(), to + i * kWidth);
      }
    }
  }
}

template <typename Scales, bool kHasMinimum, Index kPanels>
HWY_INLINE void multiply_panels(const ReadyPanel* panels,
                                const ChunkBytes* next,
                                const TokenRow* tokens,
                                Index num_tokens,
                                const ChunkOfPanels& chunk,
                                Sums& sums) {
  Index token = 0;
  ChunkBytes ahead[to_size(kPanels)];
  std::copy_n(next, kPanels, ahead);
  const auto add = [&](auto count) {
    micro<Scales, kHasMinimum, kPanels, decltype(count)::value>(panels, ahead, tokens, chunk, token,
                                                                sums);
    token += decltype(count)::value;
    for (Index p = 0; p < kPanels; ++p) {
      ahead[p].begin = std::min(ahead[p].begin + chunk.num_blocks * kBytesPerBlock, ahead[p].end);
    }
  };
  while (num_tokens - token >= kMicroTokens) {
    add(std::integral_constant<Index, kMicroTokens>());
  }
  if (kMicroTokens > 4 && num_tokens - token >= 4) {
    add(std::integral_constant<Index, 4>());
  }
  if (num_tokens - token >= 2) {
    add(std::integral_constant<Index, 2>());
  }
  if (num_tokens > token) {
    add(std::integral_constant<Index, 1>());
  }
}

// Rows [first_row, end_row) of the weight times up to kTileTokens tokens.
template <bool kHasNibbles, typename Scales, bool kHasMinimum>
HWY_INLINE void compute_many(const numeric::WeightView& weight,
                             Index first_row,
                             Index end_row,
                             const TokenRow* tokens,
                             Index num_tokens) {
  alignas(64) ReadyPanel panels[kMicroPanels];
  alignas(64) Sums sums;
  PackedChunk packed[kMicroPanels];
  const Index num_blocks = weight.columns / kBlock;
  const Index chunk_blocks = even_part(num_blocks, kChunkBlocks);
  for (Index row = first_row; row < end_row; row += kMicroPanels * kPanelRows) {
    const Index num_panels = std::min(kMicroPanels, ceil_div(end_row - row, kPanelRows));
    const bool is_filled_up = row + num_panels * kPanelRows > end_row;
    for (Index first = 0; first < num_blocks; first += chunk_blocks) {
      const Index count = std::min(chunk_blocks, num_blocks - first);
      const bool ends_rows = first + count == num_blocks;
      const ChunkOfPanels chunk = {row, first, count, first == 0, ends_rows && !is_filled_up};
      ChunkBytes next[kMicroPanels];
      for (Index p = 0; p < num_panels; ++p) {
        const Index panel_row = row + p * kPanelRows;
        make_ready<kHasNibbles, Scales, kHasMinimum>(
            read_panel(weight, panel_row, first, count, packed[p]), weight.format, count,
            panels[p]);
        next[p] = chunk_in_place(weight, panel_row + (ends_rows ? kMicroPanels * kPanelRows : 0),
                                 ends_rows ? 0 : first + count, chunk_blocks);
      }
      if (num_panels == 1) {
        multiply_panels<Scales, kHasMinimum, 1>(panels, next, tokens, num_tokens, chunk, sums);
      } else {
        multiply_panels<Scales, kHasMinimum, kMicroPanels>(panels, next, tokens, num_tokens, chunk,
                                                           sums);
      }
    }
    if (!is_filled_up) {
      continue;
    }
    for (Index p = 0; p < num_panels; ++p) {
      const Index panel_row = row + p * kPanelRows;
      const Index count = std::min(kPanelRows, end_row - panel_row);
      for (Index t = 0; t < num_tokens; ++t) {
        store_rows(sums[p][t], count, tokens[t].out + panel_row);
      }
    }
  }
}

#if HWY_TARGET == HWY_AVX3_DL

// As compute_many, in matrix tiles. Some blocks of the tokens are put into tiles once for all rows.
template <bool kHasNibbles, typename Scales, bool kHasMinimum>
void compute_in_tiles(const numeric::WeightView& weight,
                      Index first_row,
                      Index end_row,
                      const TokenRow* tokens,
                      Index num_tokens) {
  alignas(64) TiledSums sums[kTiledRows / kPanelRows];
  TiledTokens tiled;
  TiledPanel panel;
  PackedChunk packed;
  const TileScope scope(whole_tiles());
  const Index num_blocks = weight.columns / kBlock;
  const Index num_panels = ceil_div(end_row - first_row, kPanelRows);
  const Index num_sets = ceil_div(num_tokens, kSetTokens);
  for (Index p = 0; p < num_panels; ++p) {
    std::fill_n(sums[p][0][0], num_sets * kSetTokens * kPanelRows, 0.0F);
  }
  for (Index first = 0; first < num_blocks; first += kTiledBlocks) {
    const Index count = std::min(kTiledBlocks, num_blocks - first);
    tile_tokens<kHasMinimum>(tokens, num_tokens, first, count, tiled);
    for (Index p = 0; p < num_panels; ++p) {
      tile_panel<kHasNibbles, Scales, kHasMinimum>(
          read_panel(weight, first_row + p * kPanelRows, first, count, packed), weight.format,
          count, panel);
      add_tiled_panel<Scales, kHasMinimum>(panel, tiled, num_sets, count, sums[p]);
    }
  }
  for (Index p = 0; p < num_panels; ++p) {
    const Index row = first_row + p * kPanelRows;
    const Index count = std::min(kPanelRows, end_row - row);
    for (Index t = 0; t < num_tokens; ++t) {
      store_rows(sums[p][t / kSetTokens][t % kSetTokens], count, tokens[t].out + row);
    }
  }
}

#endif

#if FATHOM_HAS_DOT

// As compute_many, for at most kTokens tokens and more than half of them. The last token stands in
// for those that lack: memory sets the pace.
template <bool kHasNibbles, typename Scales, bool kHasMinimum, Index kTokens>
HWY_INLINE void compute_few(const numeric::WeightView& weight,
                            Index first_row,
                            Index end_row,
                            const TokenRow* given,
                            Index num_tokens) {
  TokenRow tokens[to_size(kTokens)];
  for (Index t = 0; t < kTokens; ++t) {
    tokens[t] = given[std::min(t, num_tokens - 1)];
  }
  PackedChunk packed;
  const Index num_blocks = weight.columns / kBlock;
  for (Index row = first_row; row < end_row; row += kPanelRows) {
    LaneSet sums[to_size(kTokens)];
    for (Index t = 0; t < kTokens; ++t) {
      sums[t] = zero_lanes();
    }
    for (Index first = 0; first < num_blocks; first += kChunkBlocks) {
      const Index count = std::min(kChunkBlocks, num_blocks - first);
      multiply_few<kHasNibbles, Scales, kHasMinimum, kTokens>(
          read_panel(weight, row, first, count, packed), weight.format, first, count, tokens, sums);
    }
    for (Index t = 0; t < kTokens; ++t) {
      alignas(64) float results[kPanelRows];
      store_lanes(sums[t], results);
      store_rows(results, std::min(kPanelRows, end_row - row), tokens[t].out + row);
    }
  }
}

#endif

template <bool kInTiles>
void compute_tile(const numeric::WeightView& weight,
                  Index first_row,
                  Index end_row,
                  const TokenRow* tokens,
                  Index num_tokens) {
  with_panel_format(weight.format, [&](auto nibbles, auto scales, auto minimum) {
    constexpr bool kHasNibbles = decltype(nibbles)::value;
    constexpr bool kHasMinimum = decltype(minimum)::value;
    using Scales = decltype(scales);
#if FATHOM_HAS_DOT
    const auto few = [&](auto count) {
      compute_few<kHasNibbles, Scales, kHasMinimum, decltype(count)::value>(
          weight, first_row, end_row, tokens, num_tokens);
    };
    if (num_tokens <= 1) {
      return few(std::integral_constant<Index, 1>());
    }
    if (num_tokens <= 2) {
      return few(std::integral_constant<Index, 2>());
    }
    if (num_tokens <= 4) {
      return few(std::integral_constant<Index, 4>());
    }
    if (num_tokens <= kFewTokens) {
      return few(std::integral_constant<Index, kFewTokens>());
    }
#endif
#if HWY_TARGET == HWY_AVX3_DL
    if constexpr (kInTiles) {
      if (num_tokens <= kPassedTokens) {
        compute_few<kHasNibbles, Scales, kHasMinimum, kFewTokens>(weight, first_row, end_row,
                                                                  tokens, kFewTokens);
        return compute_tile<kInTiles>(weight, first_row, end_row, tokens + kFewTokens,
                                      num_tokens - kFewTokens);
      }
      return compute_in_tiles<kHasNibbles, Scales, kHasMinimum>(weight, first_row, end_row, tokens,
                                                                num_tokens);
    }
#endif
    compute_many<kHasNibbles, Scales, kHasMinimum>(weight, first_row, end_row, tokens, num_tokens);
  });
}

TokenRow token_row(const ops::Int8Rows& x, Index idx, float* out) {
  return {x.codes.row(idx), x.scales.row(idx), x.zeros.row(idx), x.sums.row(idx), out};
}

// How a product is shared out. Few tokens: rows enough for memory to be read in long sweeps, few
// enough to share out.
struct LoopTile {
  Index rows;
  Index tokens;
};
template <bool kInTiles>
constexpr LoopTile loop_tile(Index num_rows, Index num_tokens) {
  if (kInTiles && num_tokens > kPassedTokens) {
    return {num_rows >= 2 * kTiledRows ? kTiledRows : kTiledRows / 4, kTiledTokens};
  }
  return {num_rows >= 2048 ? 128 : 32, kInTiles ? kTiledTokens : kTileTokens};
}

template <bool kInTiles>
void multiply(const ops::Int8LinearArgs<float>& args, platform::ThreadPool& pool) {
  const Index num_tokens = args.out.rows;
  const LoopTile shape = loop_tile<kInTiles>(args.weight.rows, num_tokens);
  const Index num_token_tiles = ceil_div(num_tokens, shape.tokens);
  pool.parallel_for(
      ceil_div(args.weight.rows, shape.rows) * num_token_tiles, [&](Index tile, int /*thread*/) {
        // Tiles of the same rows follow each other: weights stay in the caches.
        const Index first_row = tile / num_token_tiles * shape.rows;
        const Index first_token = tile % num_token_tiles * shape.tokens;
        const Index count = std::min(shape.tokens, num_tokens - first_token);
        TokenRow tokens[kTileTokens];
        for (Index t = 0; t < count; ++t) {
          tokens[t] = token_row(args.x, first_token + t, args.out.row(first_token + t));
        }
        compute_tile<kInTiles>(args.weight, first_row,
                               std::min(first_row + shape.rows, args.weight.rows), tokens, count);
      });
}

template <bool kInTiles>
void multiply_experts(const ops::ExpertInt8LinearArgs<float>& args, platform::ThreadPool& pool) {
  const auto compute = [&](const ExpertTile& tile) {
    TokenRow tokens[kTileTokens];
    for (Index t = 0; t < tile.num_slots; ++t) {
      const Index slot = tile.first_slot + t;
      const Index source = args.source.empty() ? slot : Index{args.source[to_size(slot)]};
      tokens[t] = token_row(args.x, source, args.out.row(slot));
    }
    compute_tile<kInTiles>(args.weights[to_size(tile.expert)], tile.first_row, tile.end_row, tokens,
                           tile.num_slots);
  };
  const Index slots_per_expert = args.offsets.back() / to_index(args.weights.size());
  const LoopTile shape = loop_tile<kInTiles>(args.out.columns, slots_per_expert);
  for_each_expert_tile(pool, args.offsets, args.out.columns, shape.rows, shape.tokens, compute);
}

}  // namespace

void round_to_int8(const ops::RoundToInt8Args<float>& args, platform::ThreadPool& pool) {
  pool.parallel_for(args.x.rows, [&](Index row, int /*thread*/) {
    for (Index idx = 0; idx < args.x.columns / kBlock; ++idx) {
      const numeric::RoundedBlock rounded = round_block(args.x.row(row) + idx * kBlock, kBlock,
                                                        args.out.codes.row(row) + idx * kBlock);
      args.out.scales.row(row)[idx] = rounded.scale;
      args.out.zeros.row(row)[idx] = rounded.zero;
      args.out.sums.row(row)[idx] = rounded.sum;
    }
  });
}

void int8_linear(const ops::Int8LinearArgs<float>& args, platform::ThreadPool& pool) {
  multiply<false>(args, pool);
}

void expert_int8_linear(const ops::ExpertInt8LinearArgs<float>& args, platform::ThreadPool& pool) {
  multiply_experts<false>(args, pool);
}

// With matrix tiles, on processors that have them beside this instruction set.
void int8_linear_in_tiles(const ops::Int8LinearArgs<float>& args, platform::ThreadPool& pool) {
  multiply<HWY_TARGET == HWY_AVX3_DL>(args, pool);
}

void expert_int8_linear_in_tiles(const ops::ExpertInt8LinearArgs<float>& args,
                                 platform::ThreadPool& pool) {
  multiply_experts<HWY_TARGET == HWY_AVX3_DL>(args, pool);
}

}  // namespace fathom::cpu::FATHOM_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace fathom::cpu {

#if defined(FATHOM_CPU_WITH_I8MM)

void fill_int8_linear_i8mm([[maybe_unused]] ops::KernelTable<float>& table) {
#if (HWY_TARGETS & HWY_NEON) != 0
  table.int8_linear.run = &N_NEON_I8MM::int8_linear;
  table.expert_int8_linear.run = &N_NEON_I8MM::expert_int8_linear;
#endif
}

#elif defined(FATHOM_CPU_WITH_DOT)

void fill_int8_linear_dot([[maybe_unused]] ops::KernelTable<float>& table) {
#if (HWY_TARGETS & HWY_AVX2) != 0
  table.int8_linear.run = &N_AVX2_DOT::int8_linear;
  table.expert_int8_linear.run = &N_AVX2_DOT::expert_int8_linear;
#elif (HWY_TARGETS & HWY_NEON) != 0
  table.int8_linear.run = &N_NEON_DOT::int8_linear;
  table.expert_int8_linear.run = &N_NEON_DOT::expert_int8_linear;
#endif
}

#else

HWY_EXPORT(round_to_int8);
HWY_EXPORT(int8_linear);
HWY_EXPORT(expert_int8_linear);
HWY_EXPORT(int8_linear_in_tiles);
HWY_EXPORT(expert_int8_linear_in_tiles);

void fill_int8_linear(ops::KernelTable<float>& table, const Isa& isa) {
  table.round_to_int8 = {select(HWY_DISPATCH_TABLE(round_to_int8), isa), isa.name};
  table.int8_linear = {select(HWY_DISPATCH_TABLE(int8_linear), isa), isa.name};
  table.expert_int8_linear = {select(HWY_DISPATCH_TABLE(expert_int8_linear), isa), isa.name};
  if (isa.has_amx) {
    table.int8_linear = {select(HWY_DISPATCH_TABLE(int8_linear_in_tiles), isa), isa.name};
    table.expert_int8_linear = {select(HWY_DISPATCH_TABLE(expert_int8_linear_in_tiles), isa),
                                isa.name};
  }
}

#endif  // FATHOM_CPU_WITH_DOT

}  // namespace fathom::cpu
#endif  // HWY_ONCE
