// The backward halves of matrix products: d_x += d_out W and d_W += d_out^T x.
//
// Both are sums of products of a row of numbers and a panel (matrix_tiles-inl.h). The panels of d_x
// are rows of weights, decoded once for all slots of a tile; those of d_W are rows of x. Whatever
// the format, W exists decoded only as one such piece at a time. backward_tiles.h has the tiles.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/linear_backward.cc"
#include <algorithm>
#include <span>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/backward_tiles.h"
#include "fathom/compute/backends/cpu/decode-inl.h"
#include "fathom/compute/backends/cpu/isa_table.h"
#include "fathom/compute/backends/cpu/matrix_tiles-inl.h"
#include "fathom/compute/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

using Args = ops::ExpertLinearBackwardArgs<float>;

// Products of one sum before it goes to memory: a panel of so many rows fits the first-level cache.
constexpr Index kSteps = 128;
// A tile of d_x: slots, and panels of columns; fewer where one tile has all slots of all experts.
constexpr Index kTileSlots = 256;
constexpr Index kTilePanels = 4;
constexpr Index kGatheredTilePanels = 2;
// Columns that are decoded together: a multiple of every format's block. Weights in fp32 are read
// where they lie.
constexpr Index kDecodedColumns = 256;
constexpr Index kDecodedSteps = 64;
// A tile of d_W.
constexpr Index kGradientRows = 256;
constexpr Index kGradientPanels = 2;

constexpr Index kPanelNumbers =
    std::max(kSteps * kTilePanels * kPanelColumns, kDecodedSteps*(kDecodedColumns + kPanelColumns));

// Columns as panels that are alike but for a register: none is much narrower.
Index num_panels(Index count) {
  return ceil_div(ceil_div(count, kWidth), kPanelVectors);
}
ColumnRange panel_at(Index count, Index idx) {
  const Index vectors = ceil_div(count, kWidth);
  const Index panels = num_panels(count);
  const Index first = vectors * idx / panels * kWidth;
  return {first, std::min(vectors * (idx + 1) / panels * kWidth, count) - first};
}
Index vectors_of(const ColumnRange& columns) {
  return ceil_div(columns.count, kWidth);
}

// Rounds what was packed, up to whole registers, where products take BF16 numbers.
void round_operands(const Args& args, Index count, float* numbers) {
  for (Index i = 0; args.operands == ops::Rounding::Bf16 && i < count; i += kWidth) {
    hn::StoreU(round_bf16(hn::LoadU(D(), numbers + i)), D(), numbers + i);
  }
}

// The panels of a block for some rows of the weight, one after another.
void pack_weights(const Args& args,
                  const numeric::WeightView& weight,
                  const RowRange& rows,
                  const ColumnRange& block,
                  float* panels) {
  const Index count = num_panels(block.count);
  HWY_ALIGN float decoded[kDecodedColumns];
  for (Index row = 0; row < rows.count; ++row) {
    const float* numbers = decoded;
    if (weight.format == numeric::WeightFormat::F32) {
      numbers = reinterpret_cast<const float*>(bytes_at(weight, rows.first + row, 4 * block.first));
    } else {
      decode_chunk(weight, rows.first + row, block.first, block.count, decoded);
    }
    float* panel = panels;
    for (Index idx = 0; idx < count; ++idx) {
      const ColumnRange range = panel_at(block.count, idx);
      const Index width = vectors_of(range) * kWidth;
      pack_panel_row(numbers + range.first, range.count, panel + row * width);
      round_operands(args, width, panel + row * width);
      panel += rows.count * width;
    }
  }
}

// Numbers of d_out for some slots, columns [first, first + count): where they lie if rows are so
// short that they follow each other and nothing is rounded, else a copy of at most kTileSlots rows.
tensor::MatrixView<const float> d_out_of(
    const Args& args, const SlotRange& slots, Index first, Index count, float* copy) {
  if (args.d_out.columns <= kSteps && args.operands == ops::Rounding::None) {
    return args.d_out.slice_rows(slots.first, slots.end - slots.first).slice_columns(first, count);
  }
  for (Index slot = slots.first; slot < slots.end; ++slot) {
    float* row = copy + (slot - slots.first) * kSteps;
    pack_panel_row(args.d_out.row(slot) + first, count, row);
    round_operands(args, count, row);
  }
  return {copy, slots.end - slots.first, count, kSteps};
}

// d_x of at most kTileSlots slots += d_out times the rows of a panel.
void add_panel_to_x(const Args& args,
                    const SlotRange& slots,
                    const tensor::MatrixView<const float>& d_out,
                    const ColumnRange& columns,
                    const float* panel) {
  with_constant<kPanelVectors>(vectors_of(columns), [&](auto vectors) {
    for (Index first = 0; first < d_out.rows; first += kGroupRows) {
      const Index num_rows = std::min(kGroupRows, d_out.rows - first);
      const float* rows[kGroupRows];
      float* to[kGroupRows];
      for (Index i = 0; i < kGroupRows; ++i) {
        const Index row = first + std::min(i, num_rows - 1);
        rows[i] = d_out.row(row);
        to[i] = args.d_x.row(source_of(args, slots.first + row)) + columns.first;
        prefetch_sums<vectors>(to[i]);
      }
      TileSums<vectors> sums;
      const float* ahead = d_out.row(std::min(first + kGroupRows, d_out.rows - 1));
      multiply_tile<vectors, 1>(panel, rows, d_out.columns, ahead, sums);
      // One row after another: two slots may belong to the same row of x.
      for (Index i = 0; i < num_rows; ++i) {
        add_sums<vectors>(sums.rows[i], columns.count, to[i]);
      }
    }
  });
}

// d_x of some slots of one expert, in the columns of a block.
void add_to_x(const Args& args, const SlotRange& slots, const ColumnRange& block, Index steps) {
  const numeric::WeightView& weight = args.weights[to_size(slots.expert)];
  alignas(64) float panels[kPanelNumbers];
  alignas(64) float copy[kTileSlots * kSteps];
  for (Index row = 0; row < weight.rows && slots.first < slots.end; row += steps) {
    const Index count = std::min(steps, weight.rows - row);
    pack_weights(args, weight, {row, count}, block, panels);
    for (Index first = slots.first; first < slots.end; first += kTileSlots) {
      const SlotRange part = {slots.expert, first, std::min(first + kTileSlots, slots.end)};
      const auto d_out = d_out_of(args, part, row, count, copy);
      const float* panel = panels;
      for (Index idx = 0; idx < num_panels(block.count); ++idx) {
        const ColumnRange range = panel_at(block.count, idx);
        add_panel_to_x(args, part, d_out, {block.first + range.first, range.count}, panel);
        panel += count * vectors_of(range) * kWidth;
      }
    }
  }
}

// Columns of d_out that are copied together, a line each; their copies do not begin at multiples of
// 4096 bytes from each other, which would share a place in the cache.
constexpr Index kLine = 16;
constexpr Index kLineStride = (kSteps + 1) * kLine;

// Numbers of d_out [count slots, rows of the tile], in lines.
void pack_d_out(const Args& args, const GradientTile& tile, Index slot, Index count, float* lines) {
  for (Index step = 0; step < count; ++step) {
    const float* from = args.d_out.row(slot + step) + tile.first_row;
    float* to = lines + step * kLine;
    Index row = 0;
    for (; row + kLine <= tile.num_rows; row += kLine, to += kLineStride) {
      pack_panel_row(from + row, kLine, to);
      round_operands(args, kLine, to);
    }
    if (row < tile.num_rows) {
      std::fill(std::copy(from + row, from + tile.num_rows, to), to + kLine, 0.0F);
      round_operands(args, kLine, to);
    }
  }
}

// Rows of x for `count` slots from `slot` on, in some columns, as a panel.
void pack_x(const Args& args, Index slot, Index count, const ColumnRange& columns, float* panel) {
  const Index width = vectors_of(columns) * kWidth;
  for (Index step = 0; step < count; ++step) {
    pack_panel_row(args.x.row(source_of(args, slot + step)) + columns.first, columns.count,
                   panel + step * width);
    round_operands(args, width, panel + step * width);
  }
}

// d_W of a tile += its columns of d_out, in lines, times a panel of x.
void add_panel_to_weight(const Args& args,
                         const GradientTile& tile,
                         Index count,
                         const ColumnRange& columns,
                         const float* lines,
                         const float* panel) {
  const tensor::MatrixView<float>& d_weight = args.d_weights[to_size(tile.expert)];
  with_constant<kPanelVectors>(vectors_of(columns), [&](auto vectors) {
    for (Index row = 0; row < tile.num_rows; row += kGroupRows) {
      const Index num_rows = std::min(kGroupRows, tile.num_rows - row);
      const float* rows[kGroupRows];
      float* to[kGroupRows];
      for (Index i = 0; i < kGroupRows; ++i) {
        rows[i] = lines + row / kLine * kLineStride + row % kLine + i;
        to[i] = d_weight.row(tile.first_row + row + std::min(i, num_rows - 1)) + columns.first;
        prefetch_sums<vectors>(to[i]);
      }
      TileSums<vectors> sums;
      // The groups of a line share it.
      const Index ahead = (row / kLine + 1) * kLineStride + row % kLine * kSteps;
      multiply_tile<vectors, kLine>(panel, rows, count, lines + ahead, sums);
      for (Index i = 0; i < num_rows; ++i) {
        add_sums<vectors>(sums.rows[i], columns.count, to[i]);
      }
    }
  });
}

void add_to_weight(const Args& args, const GradientTile& tile, const SlotRange& slots) {
  alignas(64) float lines[kGradientRows / kLine * kLineStride];
  alignas(64) float panel[kSteps * kPanelColumns];
  for (Index slot = slots.first; slot < slots.end; slot += kSteps) {
    const Index count = std::min(kSteps, slots.end - slot);
    pack_d_out(args, tile, slot, count, lines);
    for (Index idx = 0; idx < num_panels(tile.columns.count); ++idx) {
      ColumnRange columns = panel_at(tile.columns.count, idx);
      columns.first += tile.columns.first;
      pack_x(args, slot, count, columns, panel);
      add_panel_to_weight(args, tile, count, columns, lines, panel);
    }
  }
}

}  // namespace

void expert_linear_backward(const ops::ExpertLinearBackwardArgs<float>& args,
                            platform::ThreadPool& pool) {
  const bool decodes = has_decoded_weights(args);
  const Index steps = decodes ? kDecodedSteps : kSteps;
  const BackwardTiling tiling = {
      .x_slots = kTileSlots,
      .x_columns = decodes ? kDecodedColumns : kTilePanels * kPanelColumns,
      .gathered_x_columns = decodes ? kDecodedColumns : kGatheredTilePanels * kPanelColumns,
      .weight_rows = kGradientRows,
      .weight_columns = kGradientPanels * kPanelColumns};
  BackwardTiles(args, tiling)
      .run(
          pool,
          [&](const SlotRange& slots, const ColumnRange& columns) {
            add_to_x(args, slots, columns, steps);
          },
          [&](const GradientTile& tile, const SlotRange& slots) {
            add_to_weight(args, tile, slots);
          });
}

void linear_backward(const ops::LinearBackwardArgs<float>& args, platform::ThreadPool& pool) {
  with_one_expert(args, [&](const Args& one) { expert_linear_backward(one, pool); });
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(linear_backward);
HWY_EXPORT(expert_linear_backward);

void fill_linear_backward(ops::TrainingKernels<float>& table, const Isa& isa) {
  table.linear_backward = {select(HWY_DISPATCH_TABLE(linear_backward), isa), isa.name};
  table.expert_linear_backward = {select(HWY_DISPATCH_TABLE(expert_linear_backward), isa),
                                  isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
