// What reading memory can reach on this machine: the roofline of every kernel that reads weights.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "fathom/base/platform/thread_pool.h"

namespace fathom::bench {

// Bytes per second of the best of several passes over 512 MB, by all threads of the pool.
inline double read_bandwidth_bytes_per_s(platform::ThreadPool& pool) {
  constexpr Index kTileWords = Index{1} << 17;
  constexpr Index kNumTiles = 512;
  constexpr Index kNumPasses = 5;
  const std::vector<std::uint64_t> words(to_size(kTileWords * kNumTiles), 1);
  std::atomic<std::uint64_t> total{0};
  double best_s = 1e9;
  for (Index pass = 0; pass < kNumPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(kNumTiles, [&](Index tile, int) {
      // Several sums, so that loads do not wait for one addition after another.
      std::uint64_t sums[16] = {};
      const std::uint64_t* from = words.data() + tile * kTileWords;
      for (Index i = 0; i < kTileWords; i += 16) {
        for (Index lane = 0; lane < 16; ++lane) {
          sums[lane] += from[i + lane];
        }
      }
      for (const std::uint64_t sum : sums) {
        total += sum;
      }
    });
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    best_s = std::min(best_s, elapsed.count());
  }
  const auto expected = static_cast<std::uint64_t>(kTileWords * kNumTiles * kNumPasses);
  return total == expected ? static_cast<double>(kTileWords * kNumTiles * 8) / best_s : 0;
}

}  // namespace fathom::bench
