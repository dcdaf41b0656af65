// Memory for weights in panels (numeric/weight_panels.h): one range of huge pages.
#pragma once

#include "fathom/base/platform/reserved_memory.h"
#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/numeric/weight_format.h"

namespace fathom::weights {

class PanelMemory {
 public:
  // Throws OutOfMemory when the system does not grant so much.
  explicit PanelMemory(Index num_bytes);
  ~PanelMemory();
  PanelMemory(const PanelMemory&) = delete;
  PanelMemory& operator=(const PanelMemory&) = delete;

  // The matrix in panels, behind those packed before; numeric::bytes_in_panels(rows) must be left.
  // Each thread is the first to touch what it packs.
  numeric::WeightView pack(const numeric::WeightView& rows, platform::ThreadPool& pool);

 private:
  platform::ReservedMemory memory_;
  Index num_used_bytes_ = 0;
};

}  // namespace fathom::weights
