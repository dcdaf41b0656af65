#include "fathom/compute/runtime/machine_profile.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <thread>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/clock.h"
#include "fathom/base/platform/process_memory.h"
#include "fathom/compute/backends/cpu/machine_peaks.h"

namespace fathom::runtime {
namespace {

using platform::Clock;
using platform::seconds_since;

// Long enough for the processor to read ahead, short enough to share out.
constexpr Index kReadTileBytes = Index{4} << 20;
constexpr Index kSmallestBufferBytes = Index{1} << 20;
constexpr int kLoopsPerPass = 1000;
constexpr int kCachedPasses = 20;  // over a cache, in place of one over memory
constexpr Index kHugePageBytes = Index{2} << 20;

// Rates of several runs that do so much and return their seconds.
template <typename Body>
Rate rate_of_passes(int num_passes, double amount, const Body& body) {
  const int count = std::max(1, num_passes);
  double best_s = std::numeric_limits<double>::infinity();
  double sum_s = 0;
  for (int pass = 0; pass < count; ++pass) {
    const double seconds = body();
    best_s = std::min(best_s, seconds);
    sum_s += seconds;
  }
  return {.best = amount / best_s, .mean = amount * count / sum_s};
}

// Seconds from the moment when all threads of the pool are there until the last has run `body`.
template <typename Body>
double timed_together(platform::ThreadPool& pool, const Body& body) {
  const Index count = pool.num_threads();
  std::atomic<Index> num_arrived{0};
  std::vector<Clock::time_point> starts(to_size(count));
  pool.parallel_for(count, [&](Index tile, int /*thread*/) {
    // As many tiles as threads, and none ends before all have begun: every thread has one.
    num_arrived.fetch_add(1);
    for (int spin = 0; num_arrived.load() < count; ++spin) {
      if (spin > 1000) {
        std::this_thread::yield();
      }
    }
    starts[to_size(tile)] = Clock::now();
    body();
  });
  return seconds_since(*std::min_element(starts.begin(), starts.end()));
}

std::optional<PeakRate> rate_of(cpu::PeakNumber number,
                                platform::ThreadPool& pool,
                                Index iterations,
                                int num_passes) {
  const std::optional<cpu::PeakLoop> loop = cpu::peak_loop(number);
  if (!loop) {
    return std::nullopt;
  }
  const auto operations = static_cast<double>(loop->operations) * static_cast<double>(iterations);
  const Rate rate = rate_of_passes(num_passes, operations * pool.num_threads(), [&] {
    return timed_together(pool, [&] { loop->run(std::max<Index>(1, iterations)); });
  });
  return PeakRate{std::string(loop->instruction), rate.best, rate.mean};
}

// Loops per second.
std::optional<Rate> barrier_rate(platform::ThreadPool& pool, int num_passes) {
  if (pool.num_threads() == 1) {
    return std::nullopt;
  }
  return rate_of_passes(num_passes, kLoopsPerPass, [&] {
    const auto start = Clock::now();
    for (int loop = 0; loop < kLoopsPerPass; ++loop) {
      pool.parallel_for(pool.num_threads(), [](Index /*tile*/, int /*thread*/) {});
    }
    return seconds_since(start);
  });
}

// What every thread can have a part of.
Index smallest_working_set(const platform::ThreadPool& pool) {
  return std::max<Index>(2, pool.num_threads()) * kReadTileBytes;
}

// 1, 2, 4, ... and the number itself.
std::vector<int> thread_counts(int num_threads) {
  std::vector<int> counts;
  for (int count = 1; count < num_threads; count *= 2) {
    counts.push_back(count);
  }
  counts.push_back(num_threads);
  return counts;
}

}  // namespace

ReadBuffer::ReadBuffer(platform::ThreadPool& pool, Index num_bytes)
    : memory_("machine probe", num_bytes, kSmallestBufferBytes) {
  memory_.ask_for_huge_pages();
  const Index num_tiles = ceil_div(memory_.num_bytes(), kHugePageBytes);
  pool.parallel_for(num_tiles, [&](Index tile, int /*thread*/) {
    const Index first = tile * kHugePageBytes;
    // Not zero: the pages are memory of their own then, not one page of zeros.
    std::fill_n(memory_.data() + first, std::min(kHugePageBytes, memory_.num_bytes() - first),
                std::byte{1});
  });
}

Index default_buffer_bytes() {
  constexpr Index kWanted = Index{1} << 30;
  const std::optional<Index> available = platform::available_memory_bytes();
  return available ? std::clamp(*available / 8, kSmallestBufferBytes, kWanted) : kWanted;
}

Rate measure_read(platform::ThreadPool& pool, std::span<const std::byte> bytes, int num_passes) {
  FATHOM_CHECK(!bytes.empty());
  const Index num_bytes = to_index(bytes.size());
  std::atomic<std::uint64_t> total{0};
  return rate_of_passes(num_passes, static_cast<double>(num_bytes), [&] {
    const auto start = Clock::now();
    pool.parallel_for(ceil_div(num_bytes, kReadTileBytes), [&](Index tile, int /*thread*/) {
      const Index first = tile * kReadTileBytes;
      total += cpu::sum_bytes(
          bytes.subspan(to_size(first), to_size(std::min(kReadTileBytes, num_bytes - first))));
    });
    return seconds_since(start);
  });
}

std::vector<WorkingSetRate> measure_working_sets(platform::ThreadPool& pool,
                                                 const ReadBuffer& buffer,
                                                 int num_passes) {
  // Where caches end differs; a factor of 1.5 is close enough to see it.
  constexpr double kGrowth = 1.5;
  std::vector<WorkingSetRate> rates;
  const Index smallest = smallest_working_set(pool);
  auto size = static_cast<double>(smallest);
  while (size <= static_cast<double>(buffer.bytes().size())) {
    // In whole tiles, as many for each thread.
    const Index num_bytes = static_cast<Index>(size) / smallest * smallest;
    if (rates.empty() || rates.back().num_bytes < num_bytes) {
      // The first pass brings the bytes into the cache: it is never the best.
      rates.push_back(
          {num_bytes,
           measure_read(pool, buffer.bytes().first(to_size(num_bytes)), num_passes + 1).best});
    }
    size *= kGrowth;
  }
  return rates;
}

std::optional<PeakRate> measure_peak(platform::ThreadPool& pool,
                                     Peak peak,
                                     Index loop_iterations,
                                     int num_passes) {
  switch (peak) {
    case Peak::Int8:
      return rate_of(cpu::PeakNumber::Int8, pool, loop_iterations, num_passes);
    case Peak::Bf16:
      return rate_of(cpu::PeakNumber::Bf16, pool, loop_iterations, num_passes);
    case Peak::Fp32:
      return rate_of(cpu::PeakNumber::Fp32, pool, loop_iterations, num_passes);
  }
  return std::nullopt;
}

Index num_machine_figures(int num_threads) {
  constexpr Index kPeaksAndBarrier = 4;
  return to_index(thread_counts(num_threads).size()) + kPeaksAndBarrier;
}

MachineProfile measure_machine(const ReadBuffer& buffer, const ProbeOptions& options) {
  platform::ThreadPool pool({.num_threads = options.num_threads});
  const auto told = [&] {
    if (options.on_measured) {
      options.on_measured();
    }
  };
  MachineProfile profile;
  profile.num_threads = pool.num_threads();
  for (const int count : thread_counts(pool.num_threads())) {
    platform::ThreadPool some({.num_threads = count});
    profile.reads.push_back({count, measure_read(some, buffer.bytes(), options.num_passes).best});
    told();
  }
  const auto peak_of = [&](Peak peak) {
    auto rate = measure_peak(pool, peak, options.loop_iterations, options.num_passes);
    told();
    return rate;
  };
  profile.int8 = peak_of(Peak::Int8);
  profile.bf16 = peak_of(Peak::Bf16);
  profile.fp32 = peak_of(Peak::Fp32);
  if (const auto loops = barrier_rate(pool, options.num_passes)) {
    profile.barrier_s = 1 / loops->best;
  }
  told();
  return profile;
}

Moment measure_moment(platform::ThreadPool& pool, const ReadBuffer& buffer, int num_passes) {
  Moment moment{.read = measure_read(pool, buffer.bytes(), num_passes)};
  const auto cached =
      buffer.bytes().first(std::min(buffer.bytes().size(), to_size(smallest_working_set(pool))));
  measure_read(pool, cached, 1);  // brings it into the cache
  moment.cached_bytes_per_s = measure_read(pool, cached, kCachedPasses * num_passes).mean;
  if (const auto loops = barrier_rate(pool, num_passes)) {
    moment.barrier_s = 1 / loops->mean;
  }
  return moment;
}

}  // namespace fathom::runtime
