// Folding a low-rank adapter into the weights it stands beside: W + scale B A, in W's own format.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "fathom/base/platform/thread_pool.h"
#include "fathom/model/weights/store.h"

namespace fathom::weights {

// Sums over the numbers of one or more matrices: of W + scale B A, of scale B A, and of what
// rounding to the format leaves of the difference; each squared.
struct MergeSums {
  double sum = 0;
  double update = 0;
  double error = 0;

  void add(const MergeSums& other);
  // The error relative to the exact sum, and to what the adapter adds.
  double relative_error() const;
  double error_of_update() const;
};

struct MergedTensor {
  std::string name;  // in the checkpoint; of a stacked tensor with the expert's number
  numeric::WeightFormat format;
  MergeSums sums;
};

// Told of bytes done and of all. May throw, which leaves nothing behind.
using MergeProgress = std::function<void(Index done, Index total)>;

// Writes the checkpoint in `folder`, which is new or empty, with the adapter folded in; everything
// else is copied, the files beside the weights (tokenizer, configs) too. The folder appears under
// its name when it is complete. The adapter must be one that Store::with_adapter takes.
//
// Throws InvalidArgument for a folder with something in it, Unsupported for a checkpoint in GGUF
// (the adapter can be put beside it instead) and for gates and ups that share an FP8 tile, Io.
std::vector<MergedTensor> merge_adapter(const Store& store,
                                        const Adapter& adapter,
                                        const std::filesystem::path& folder,
                                        platform::ThreadPool& pool,
                                        const MergeProgress& on_progress = {});

}  // namespace fathom::weights
