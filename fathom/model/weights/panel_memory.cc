#include "fathom/model/weights/panel_memory.h"

#include <algorithm>

#include "fathom/base/core/error.h"
#include "fathom/compute/numeric/weight_panels.h"

namespace fathom::weights {
namespace {

constexpr Index kTileBytes = Index{1} << 18;

}  // namespace

PanelMemory::PanelMemory(Index num_bytes)
    : memory_(platform::reserve_memory(num_bytes, num_bytes)) {
  if (memory_.data == nullptr && num_bytes > 0) {
    fail(ErrorCode::OutOfMemory, "weights in panels: the system does not grant ", num_bytes,
         " bytes");
  }
  platform::ask_for_huge_pages(memory_);
}

PanelMemory::~PanelMemory() {
  platform::release_memory(memory_);
}

numeric::WeightView PanelMemory::pack(const numeric::WeightView& rows, platform::ThreadPool& pool) {
  const Index num_bytes = numeric::bytes_in_panels(rows);
  FATHOM_CHECK(num_used_bytes_ + num_bytes <= memory_.num_bytes);
  std::byte* const data = memory_.data + num_used_bytes_;
  num_used_bytes_ += num_bytes;
  const Index num_panels = ceil_div(rows.rows, numeric::kPanelRows);
  const Index tile_panels = std::max<Index>(1, kTileBytes / (num_bytes / num_panels));
  pool.parallel_for(ceil_div(num_panels, tile_panels), [&](Index tile, int /*thread*/) {
    const Index first = tile * tile_panels;
    numeric::pack_panels(rows, first, std::min(tile_panels, num_panels - first), data);
  });
  return numeric::view_of_panels(rows, data);
}

}  // namespace fathom::weights
