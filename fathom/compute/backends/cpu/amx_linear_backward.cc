// The backward halves of matrix products on Intel's matrix unit (AMX-BF16), where products take
// BF16 numbers; others are linear_backward.cc's.
//
// The unit multiplies a tile of 16 rows of 32 numbers with a tile of 32 rows of 16, which lie in
// pairs of rows. For d_x these are d_out (slots times outputs) and W; for d_W d_out transposed
// (outputs times slots) and x. Both are rounded and packed a block at a time, in the tile that
// needs them (backward_tiles.h); sums of a block's products are added to fp32 numbers in memory.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/amx_linear_backward.cc"
#include <algorithm>
#include <atomic>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/compute/backends/cpu/amx.h"
#include "fathom/compute/backends/cpu/backward_tiles.h"
#include "fathom/compute/backends/cpu/bf16_parts-inl.h"
#include "fathom/compute/backends/cpu/isa_table.h"

#if HWY_TARGET == HWY_AVX3_DL
FATHOM_BEFORE_NAMESPACE_WITH("avx512bf16,amx-tile,amx-bf16");
namespace fathom::cpu::HWY_NAMESPACE {

// Of linear_backward.cc: what multiplies other numbers.
void expert_linear_backward(const ops::ExpertLinearBackwardArgs<float>& args,
                            platform::ThreadPool& pool);

namespace {

using Args = ops::ExpertLinearBackwardArgs<float>;

constexpr Index kTile = 16;             // rows of a left tile, columns of a right one
constexpr Index kSteps = kPartColumns;  // products of one sum in a pair of tiles
constexpr Index kTileNumbers = kTile * kSteps;
constexpr Index kSquare = 2 * kTile;  // rows and columns that are summed up together
constexpr int kRowBytes = 64;

constexpr Index kBlockSteps = 512;  // products of one sum before it is added to memory
constexpr Index kBlockTiles = kBlockSteps / kSteps;
constexpr BackwardTiling kTiling = {.x_slots = 256,
                                    .x_columns = 384,
                                    .gathered_x_columns = 96,
                                    .weight_rows = 256,
                                    .weight_columns = 192};
static_assert(kTiling.weight_columns <= kTiling.x_columns);

// Tiles of one block: [16 rows or columns][32 steps], all steps of one before the next. Padding
// keeps those that are read together apart in the cache.
constexpr Index kStripNumbers = kBlockTiles * kTileNumbers + kSteps;
using RightStrips = std::uint16_t[kTiling.x_columns / kTile * kStripNumbers];

// 16 numbers, zeros behind the first `count`.
HWY_INLINE V load_first(const float* from, Index count) {
  const auto mask = static_cast<__mmask16>((1U << std::clamp<Index>(count, 0, kTile)) - 1U);
  return V{_mm512_maskz_loadu_ps(mask, from)};
}

// Numbers of two rows by turns, in BF16: what is multiplied with a pair of a left tile.
HWY_INLINE __m512i pairs(V even, V odd) {
  alignas(64) static constexpr std::uint16_t kByTurns[32] = {
      0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(kByTurns), to_bf16(even, odd));
}

// `count` rows of `columns` numbers, row i at row(i), as right tiles: a row is a step.
template <typename Row>
void pack_right(Index count, Index columns, const Row& row, std::uint16_t* strips) {
  static const float kZeros[kTiling.x_columns] = {};
  for (Index step = 0; step < ceil_div(count, kSteps) * kSteps; step += 2) {
    const float* even = step < count ? row(step) : kZeros;
    const float* odd = step + 1 < count ? row(step + 1) : kZeros;
    std::uint16_t* to = strips + step / 2 * kSteps;
    for (Index column = 0; column < columns; column += kTile, to += kStripNumbers) {
      _mm512_storeu_si512(to, pairs(load_first(even + column, columns - column),
                                    load_first(odd + column, columns - column)));
    }
  }
}

// Columns [first, first + count) of up to 16 rows from `row` on, as left tiles.
void pack_left(const tensor::MatrixView<const float>& matrix,
               Index row,
               Index first,
               Index count,
               std::uint16_t* strip) {
  for (Index i = 0; i < kTile; ++i, strip += kSteps) {
    std::uint16_t* to = strip;
    for (Index column = 0; column < count; column += kSteps, to += kTileNumbers) {
      if (row + i >= matrix.rows) {
        _mm512_storeu_si512(to, _mm512_setzero_si512());
        continue;
      }
      const float* from = matrix.row(row + i) + first + column;
      _mm512_storeu_si512(to, to_bf16(load_first(from, count - column),
                                      load_first(from + kTile, count - column - kTile)));
    }
  }
}

// Rows [first, first + count) of up to 16 columns from `column` on, as left tiles: a row is a step.
void pack_left_transposed(const tensor::MatrixView<const float>& matrix,
                          Index first,
                          Index count,
                          const ColumnRange& columns,
                          std::uint16_t* strip) {
  static const float kZeros[kTile] = {};
  const auto row = [&](Index step) {
    return step < count ? matrix.row(first + step) + columns.first : kZeros;
  };
  for (Index step = 0; step < count; step += kSteps, strip += kTileNumbers) {
    __m512i tile[16];
    for (int i = 0; i < 16; ++i) {
      tile[i] = pairs(load_first(row(step + 2 * i), columns.count),
                      load_first(row(step + 2 * i + 1), columns.count));
    }
    transpose(tile);
    for (int i = 0; i < 16; ++i) {
      _mm512_storeu_si512(strip + i * kSteps, tile[i]);
    }
  }
}

// Sums of two left and two right strips: [row of tiles][column of tiles][16][16].
using SquareSums = float[4 * kTile * kTile];

HWY_INLINE void multiply(const std::uint16_t* const* left,
                         const std::uint16_t* const* right,
                         Index num_steps,
                         SquareSums& sums) {
  std::atomic_signal_fence(std::memory_order_seq_cst);  // the intrinsics do not say what they read
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (Index at = 0; at < num_steps * kTileNumbers; at += kTileNumbers) {
    _tile_loadd(4, left[0] + at, kRowBytes);
    _tile_loadd(6, right[0] + at, kRowBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, right[1] + at, kRowBytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, left[1] + at, kRowBytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, kRowBytes);
  _tile_stored(1, sums + kTile * kTile, kRowBytes);
  _tile_stored(2, sums + 2 * kTile * kTile, kRowBytes);
  _tile_stored(3, sums + 3 * kTile * kTile, kRowBytes);
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

// to[column] += sums of one row of a square, for up to 32 columns.
HWY_INLINE void add_row(const SquareSums& sums, Index row, Index count, float* to) {
  const float* from = sums + row / kTile * 2 * kTile * kTile + row % kTile * kTile;
  for (Index column = 0; column < count; column += kTile, from += kTile * kTile, to += kTile) {
    const auto mask = static_cast<__mmask16>((1U << std::min(kTile, count - column)) - 1U);
    const __m512 sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to), _mm512_loadu_ps(from));
    _mm512_mask_storeu_ps(to, mask, sum);
  }
}

// Rows of one square's left strips, and where their sums go: row i at to(i).
template <typename To>
void add_products(const std::uint16_t* left,
                  Index num_rows,
                  const std::uint16_t* right,
                  Index columns,
                  Index num_steps,
                  const To& to) {
  // What has one tile of rows or columns only takes it for both.
  const std::uint16_t* lefts[2] = {left, left + (num_rows > kTile ? kStripNumbers : 0)};
  for (Index column = 0; column < columns; column += kSquare) {
    const std::uint16_t* strip = right + column / kTile * kStripNumbers;
    const Index count = std::min(kSquare, columns - column);
    const std::uint16_t* rights[2] = {strip, strip + (count > kTile ? kStripNumbers : 0)};
    alignas(64) SquareSums sums;
    multiply(lefts, rights, num_steps, sums);
    for (Index row = 0; row < num_rows; ++row) {
      add_row(sums, row, count, to(row) + column);
    }
  }
}

// Rows of a weight as right tiles.
void pack_weights(const numeric::WeightView& weight,
                  const RowRange& rows,
                  const ColumnRange& columns,
                  std::uint16_t* strips) {
  HWY_ALIGN float decoded[2][kTiling.x_columns];
  pack_right(
      rows.count, columns.count,
      [&](Index idx) {
        if (weight.format == numeric::WeightFormat::F32) {
          return reinterpret_cast<const float*>(
              bytes_at(weight, rows.first + idx, 4 * columns.first));
        }
        float* row = decoded[idx % 2];
        decode_chunk(weight, rows.first + idx, columns.first, columns.count, row);
        return static_cast<const float*>(row);
      },
      strips);
}

void add_to_x(const Args& args, const SlotRange& slots, const ColumnRange& columns) {
  const numeric::WeightView& weight = args.weights[to_size(slots.expert)];
  alignas(64) RightStrips right;
  alignas(64) std::uint16_t left[2 * kStripNumbers];
  const TileScope scope(whole_tiles());
  const auto d_out = args.d_out.slice_rows(0, slots.end);
  for (Index output = 0; output < weight.rows && slots.count() > 0; output += kBlockSteps) {
    const Index count = std::min(kBlockSteps, weight.rows - output);
    pack_weights(weight, {output, count}, columns, right);
    for (Index slot = slots.first; slot < slots.end; slot += kSquare) {
      pack_left(d_out, slot, output, count, left);
      pack_left(d_out, slot + kTile, output, count, left + kStripNumbers);
      // One row after another: two slots may belong to the same row of x.
      add_products(
          left, std::min(kSquare, slots.end - slot), right, columns.count, ceil_div(count, kSteps),
          [&](Index row) { return args.d_x.row(source_of(args, slot + row)) + columns.first; });
    }
  }
}

void add_to_weight(const Args& args, const GradientTile& tile, const SlotRange& slots) {
  const tensor::MatrixView<float>& d_weight = args.d_weights[to_size(tile.expert)];
  alignas(64) RightStrips right;
  alignas(64) std::uint16_t left[2 * kStripNumbers];
  const TileScope scope(whole_tiles());
  for (Index slot = slots.first; slot < slots.end; slot += kBlockSteps) {
    const Index count = std::min(kBlockSteps, slots.end - slot);
    pack_right(
        count, tile.columns.count,
        [&](Index idx) { return args.x.row(source_of(args, slot + idx)) + tile.columns.first; },
        right);
    for (Index row = 0; row < tile.num_rows; row += kSquare) {
      for (Index half = 0; half < 2 && row + half * kTile < tile.num_rows; ++half) {
        const Index first = row + half * kTile;
        pack_left_transposed(args.d_out, slot, count,
                             {tile.first_row + first, std::min(kTile, tile.num_rows - first)},
                             left + half * kStripNumbers);
      }
      add_products(left, std::min(kSquare, tile.num_rows - row), right, tile.columns.count,
                   ceil_div(count, kSteps), [&](Index i) {
                     return d_weight.row(tile.first_row + row + i) + tile.columns.first;
                   });
    }
  }
}

// What is decoded begins at a multiple of every format's block.
BackwardTiling tiling_of(const Args& args) {
  constexpr Index kDecodedColumns = 256;
  static_assert(kDecodedColumns <= kTiling.x_columns);
  BackwardTiling tiling = kTiling;
  if (has_decoded_weights(args)) {
    tiling.x_columns = kDecodedColumns;
    tiling.gathered_x_columns = kDecodedColumns;
  }
  return tiling;
}

}  // namespace

void amx_expert_linear_backward(const Args& args, platform::ThreadPool& pool) {
  if (args.operands != ops::Rounding::Bf16) {
    return expert_linear_backward(args, pool);
  }
  BackwardTiles(args, tiling_of(args))
      .run(
          pool,
          [&](const SlotRange& slots, const ColumnRange& columns) {
            add_to_x(args, slots, columns);
          },
          [&](const GradientTile& tile, const SlotRange& slots) {
            add_to_weight(args, tile, slots);
          });
}

void amx_linear_backward(const ops::LinearBackwardArgs<float>& args, platform::ThreadPool& pool) {
  with_one_expert(args, [&](const Args& one) { amx_expert_linear_backward(one, pool); });
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace fathom::cpu {

void fill_amx_linear_backward([[maybe_unused]] ops::TrainingKernels<float>& table) {
#if (HWY_TARGETS & HWY_AVX3_DL) != 0
  table.linear_backward.run = &N_AVX3_DL::amx_linear_backward;
  table.expert_linear_backward.run = &N_AVX3_DL::amx_expert_linear_backward;
#endif
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
