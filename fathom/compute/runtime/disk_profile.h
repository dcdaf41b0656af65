// How fast a folder's disk reads, by the number of reads at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::runtime {

struct DiskProbeOptions {
  std::filesystem::path folder;  // a file is written there and removed again
  Index file_bytes = Index{512} << 20;
  Index block_bytes = Index{1} << 20;  // of one read: a matrix of an expert is as large
  std::vector<int> queue_depths = {1, 4, 16};
  double seconds_per_depth = 1;
  std::function<void()> on_measured = {};  // told after the file is written and after every depth
};

struct DiskRate {
  int queue_depth;
  double bytes_per_s;
};

struct DiskProfile {
  std::vector<DiskRate> reads;
  // Whether the page cache was kept out of it (O_DIRECT); else it was asked to forget the file.
  bool is_direct = false;
};

// Reads blocks of the file in random order. Throws Io naming the folder, InvalidArgument for sizes
// that cannot be.
DiskProfile measure_disk(const DiskProbeOptions& options);

}  // namespace fathom::runtime
