// How d_x += d_out W and d_W += d_out^T x of many matrices are shared out among threads.
//
// A tile owns what it adds to: some columns of d_x for a range of slots, or for all slots where
// several may belong to one row of x; and some rows and columns of one d_W for all slots of its
// matrix. Which tiles there are depends on sizes alone, so no result depends on threads.
#pragma once

#include <algorithm>

#include "fathom/base/core/index.h"
#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/ops/linear.h"

namespace fathom::cpu {

// Slots [first, end) of one expert.
struct SlotRange {
  Index expert;
  Index first;
  Index end;

  Index count() const { return end - first; }
};

struct ColumnRange {
  Index first;
  Index count;
};
using RowRange = ColumnRange;

// Some rows and columns of one d_W.
struct GradientTile {
  Index expert;
  Index first_row;
  Index num_rows;
  ColumnRange columns;
};

// How large tiles are at most.
struct BackwardTiling {
  Index x_slots;
  Index x_columns;
  Index gathered_x_columns;  // where a tile has all slots of all experts
  Index weight_rows;
  Index weight_columns;
};

class BackwardTiles {
 public:
  using Args = ops::ExpertLinearBackwardArgs<float>;

  BackwardTiles(const Args& args, const BackwardTiling& tiling)
      : args_(args),
        tiling_(tiling),
        width_(args.source.empty() ? tiling.x_columns : tiling.gathered_x_columns),
        num_x_blocks_(ceil_div(args.weights.front().columns, width_)),
        num_row_blocks_(ceil_div(args.weights.front().rows, tiling.weight_rows)),
        num_column_blocks_(ceil_div(args.weights.front().columns, tiling.weight_columns)) {
    if (args.source.empty()) {
      num_ranges_ = 0;
      for (Index expert = 0; expert < num_experts(); ++expert) {
        num_ranges_ += ceil_div(slots_of(expert).count(), tiling.x_slots);
      }
    }
  }

  // Calls add_to_x(SlotRange, ColumnRange) and add_to_weight(GradientTile, SlotRange) for every
  // tile; ranges may be empty. Frozen matrices have no tiles.
  template <typename AddToX, typename AddToWeight>
  void run(platform::ThreadPool& pool,
           const AddToX& add_to_x,
           const AddToWeight& add_to_weight) const {
    const Index num_x_tiles = num_ranges_ * num_x_blocks_;
    const Index num_tiles = num_x_tiles + num_experts() * num_row_blocks_ * num_column_blocks_;
    pool.parallel_for(num_tiles, [&](Index tile, int /*thread*/) {
      if (tile >= num_x_tiles) {
        const GradientTile gradient = gradient_tile(tile - num_x_tiles);
        if (args_.d_weights[to_size(gradient.expert)].data != nullptr) {
          add_to_weight(gradient, slots_of(gradient.expert));
        }
        return;
      }
      const ColumnRange columns = part(args_.weights.front().columns, tile % num_x_blocks_, width_);
      if (args_.source.empty()) {
        add_to_x(slots_at(tile / num_x_blocks_), columns);
        return;
      }
      for (Index expert = 0; expert < num_experts(); ++expert) {
        add_to_x(slots_of(expert), columns);
      }
    });
  }

 private:
  static ColumnRange part(Index count, Index idx, Index width) {
    return {idx * width, std::min(width, count - idx * width)};
  }

  Index num_experts() const { return to_index(args_.weights.size()); }
  SlotRange slots_of(Index expert) const {
    return {expert, args_.offsets[to_size(expert)], args_.offsets[to_size(expert) + 1]};
  }

  // The idx-th range of x_slots slots of one expert.
  SlotRange slots_at(Index idx) const {
    Index expert = 0;
    SlotRange slots = slots_of(expert);
    while (idx >= ceil_div(slots.count(), tiling_.x_slots)) {
      idx -= ceil_div(slots.count(), tiling_.x_slots);
      slots = slots_of(++expert);
    }
    const Index first = slots.first + idx * tiling_.x_slots;
    return {expert, first, std::min(first + tiling_.x_slots, slots.end)};
  }

  GradientTile gradient_tile(Index idx) const {
    const Index per_expert = num_row_blocks_ * num_column_blocks_;
    const Index block = idx % per_expert;
    const auto rows =
        part(args_.weights.front().rows, block / num_column_blocks_, tiling_.weight_rows);
    const auto columns =
        part(args_.weights.front().columns, block % num_column_blocks_, tiling_.weight_columns);
    return {idx / per_expert, rows.first, rows.count, columns};
  }

  const Args& args_;
  BackwardTiling tiling_;
  Index width_;
  Index num_x_blocks_;
  Index num_row_blocks_;
  Index num_column_blocks_;
  Index num_ranges_ = 1;
};

// Calls body with a product of one matrix as that of a single expert that has all rows of x.
template <typename Body>
void with_one_expert(const ops::LinearBackwardArgs<float>& args, const Body& body) {
  const std::int32_t offsets[] = {0, static_cast<std::int32_t>(args.x.rows)};
  body(BackwardTiles::Args{.weights = {&args.weight, 1},
                           .x = args.x,
                           .source = {},
                           .offsets = offsets,
                           .d_out = args.d_out,
                           .d_x = args.d_x,
                           .d_weights = {&args.d_weight, 1},
                           .operands = args.operands});
}

// Whether any weight is not read where it lies.
inline bool has_decoded_weights(const BackwardTiles::Args& args) {
  return std::any_of(args.weights.begin(), args.weights.end(), [](const auto& weight) {
    return weight.format != numeric::WeightFormat::F32;
  });
}

// The row of x that a slot belongs to.
inline Index source_of(const BackwardTiles::Args& args, Index slot) {
  return args.source.empty() ? slot : Index{args.source[to_size(slot)]};
}

}  // namespace fathom::cpu
