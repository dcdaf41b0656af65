// Memory for weights in panels (numeric/weight_panels.h): one range of huge pages, filled matrix by
// matrix when each is first multiplied. A model of experts so gives its first token before the
// experts are copied that this token does not choose.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "fathom/base/platform/reserved_memory.h"
#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/numeric/weight_format.h"

namespace fathom::weights {

class PanelMemory {
 public:
  // `pool` copies, and has to stay as long as matrices are filled. Throws OutOfMemory when the
  // system does not grant so much.
  PanelMemory(Index num_bytes, platform::ThreadPool& pool);

  // Where the matrix will lie in panels, behind those placed before; numeric::bytes_in_panels(rows)
  // must be left. `name` is for errors.
  numeric::WeightView place(const std::string& name, const numeric::WeightView& rows);

  // Copies the matrix that was placed at `panels`, unless it is there already; returns the rows
  // that it was copied from. Each thread is the first to touch what it copies. Throws
  // InvalidCheckpoint naming the matrix if one of its scales is not a number. Not for several
  // threads at once, and not from a loop of the pool.
  std::optional<numeric::WeightView> fill(const numeric::WeightView& panels);
  // Bytes of all matrices that are placed and not filled.
  Index num_waiting_bytes() const { return num_waiting_bytes_; }
  // Fills one of them, if there is one.
  std::optional<numeric::WeightView> fill_next();

 private:
  struct Waiting {
    std::string name;
    numeric::WeightView rows;
  };
  using WaitingMatrices = std::map<Index, Waiting>;  // by the byte at which they will begin
  numeric::WeightView fill(WaitingMatrices::iterator matrix);

  platform::ThreadPool& pool_;
  platform::ReservedMemory memory_;
  Index num_used_bytes_ = 0;
  Index num_waiting_bytes_ = 0;
  WaitingMatrices waiting_;
};

// Throws InvalidCheckpoint naming the matrix if one of its scales is not a number.
void check_scales(const std::string& name, const numeric::WeightView& view);

}  // namespace fathom::weights
