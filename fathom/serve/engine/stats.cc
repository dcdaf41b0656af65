#include "fathom/serve/engine/stats.h"

#include <algorithm>
#include <numeric>

namespace fathom::engine {

void Histogram::add(double seconds) {
  const auto bound = std::lower_bound(kBoundsS.begin(), kBoundsS.end(), seconds);
  ++counts_[static_cast<std::size_t>(bound - kBoundsS.begin())];
  sum_s_ += seconds;
}

std::array<std::uint64_t, Histogram::kBoundsS.size() + 1> Histogram::cumulative() const {
  auto sums = counts_;
  std::partial_sum(counts_.begin(), counts_.end(), sums.begin());
  return sums;
}

std::uint64_t Histogram::count() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::uint64_t{0});
}

}  // namespace fathom::engine
