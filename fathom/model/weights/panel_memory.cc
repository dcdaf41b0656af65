#include "fathom/model/weights/panel_memory.h"

#include <algorithm>

#include "fathom/base/core/error.h"
#include "fathom/compute/numeric/weight_panels.h"

namespace fathom::weights {
namespace {

constexpr Index kTileBytes = Index{1} << 18;

}  // namespace

PanelMemory::PanelMemory(Index num_bytes, platform::ThreadPool& pool)
    : pool_(pool), memory_("weights in panels", num_bytes) {
  memory_.ask_for_huge_pages();
}

numeric::WeightView PanelMemory::place(const std::string& name, const numeric::WeightView& rows) {
  const Index num_bytes = numeric::bytes_in_panels(rows);
  FATHOM_CHECK(num_used_bytes_ + num_bytes <= memory_.num_bytes());
  std::byte* const data = memory_.data() + num_used_bytes_;
  waiting_.emplace(num_used_bytes_, Waiting{name, rows});
  num_used_bytes_ += num_bytes;
  num_waiting_bytes_ += num_bytes;
  return numeric::view_of_panels(rows, data);
}

std::optional<numeric::WeightView> PanelMemory::fill(const numeric::WeightView& panels) {
  const auto matrix = waiting_.find(panels.data - memory_.data());
  return matrix == waiting_.end() ? std::nullopt : std::optional(fill(matrix));
}

std::optional<numeric::WeightView> PanelMemory::fill_next() {
  return waiting_.empty() ? std::nullopt : std::optional(fill(waiting_.begin()));
}

numeric::WeightView PanelMemory::fill(WaitingMatrices::iterator matrix) {
  // Nothing here takes memory from the heap: decoding does not, also when it meets a new expert.
  const std::string& name = matrix->second.name;
  const numeric::WeightView rows = matrix->second.rows;
  check_scales(name, rows);
  std::byte* const data = memory_.data() + matrix->first;
  const Index num_bytes = numeric::bytes_in_panels(rows);
  const Index num_panels = ceil_div(rows.rows, numeric::kPanelRows);
  const Index tile_panels = std::max<Index>(1, kTileBytes / (num_bytes / num_panels));
  pool_.parallel_for(ceil_div(num_panels, tile_panels), [&](Index tile, int /*thread*/) {
    const Index first = tile * tile_panels;
    numeric::pack_panels(rows, first, std::min(tile_panels, num_panels - first), data);
  });
  num_waiting_bytes_ -= num_bytes;
  waiting_.erase(matrix);
  return rows;
}

void check_scales(const std::string& name, const numeric::WeightView& view) {
  if (const auto bad = numeric::find_bad_scale(view)) {
    fail(ErrorCode::InvalidCheckpoint, name, ": the scale of row ", bad->row, ", block ",
         bad->column, " is not a number (E8M0 255 or a NaN), expected a finite scale");
  }
}

}  // namespace fathom::weights
