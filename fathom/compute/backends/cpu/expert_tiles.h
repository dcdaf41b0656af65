// How the products of routed experts are shared out among threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "fathom/base/core/index.h"
#include "fathom/base/platform/thread_pool.h"

namespace fathom::cpu {

// Some rows of one expert's matrix times some of its slots, [first, end) each.
struct ExpertTile {
  Index expert;
  Index first_row;
  Index end_row;
  Index first_slot;
  Index num_slots;
};

// Calls body(tile) for all of [0, num_rows) times the slots of every expert (offsets [E + 1]), at
// most tile_rows and tile_slots at a time.
template <typename Body>
void for_each_expert_tile(platform::ThreadPool& pool,
                          std::span<const std::int32_t> offsets,
                          Index num_rows,
                          Index tile_rows,
                          Index tile_slots,
                          const Body& body) {
  const Index num_experts = to_index(offsets.size()) - 1;
  const Index num_slots = offsets.back();
  const Index num_row_tiles = ceil_div(num_rows, tile_rows);
  // One group of tiles per expert or, for a few tokens, per slot: the first slot of an expert
  // stands for all of its slots.
  const bool by_slot = num_slots < num_experts;
  pool.parallel_for(
      (by_slot ? num_slots : num_experts) * num_row_tiles, [&](Index tile, int /*thread*/) {
        Index expert = tile / num_row_tiles;
        if (by_slot) {
          const Index slot = expert;
          expert = std::upper_bound(offsets.begin(), offsets.end(), slot) - offsets.begin() - 1;
          if (offsets[to_size(expert)] != slot) {
            return;
          }
        }
        const Index end_slot = offsets[to_size(expert) + 1];
        const Index first_row = tile % num_row_tiles * tile_rows;
        for (Index first = offsets[to_size(expert)]; first < end_slot; first += tile_slots) {
          body(ExpertTile{expert, first_row, std::min(first_row + tile_rows, num_rows), first,
                          std::min(tile_slots, end_slot - first)});
        }
      });
}

}  // namespace fathom::cpu
