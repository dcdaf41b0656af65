// What this machine can do at most: reading memory, multiplying, starting a loop on all threads.
//
// Every figure is the best of a few short runs. A figure that the machine has no instruction or no
// use for is absent, never guessed.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/base/platform/reserved_memory.h"
#include "fathom/base/platform/thread_pool.h"

namespace fathom::runtime {

// Anonymous memory that is read for measuring, under which huge pages are asked for.
class ReadBuffer {
 public:
  // Written by all threads of the pool, so that a page is behind every address. Throws OutOfMemory.
  ReadBuffer(platform::ThreadPool& pool, Index num_bytes);

  std::span<const std::byte> bytes() const {
    return {memory_.data(), to_size(memory_.num_bytes())};
  }

 private:
  platform::ReservedMemory memory_;
};

// How large it should be: 1 GiB, or an eighth of what the machine has left.
Index default_buffer_bytes();

struct ProbeOptions {
  int num_threads = 0;                     // 0: one per available processor
  int num_passes = 7;                      // the best counts
  Index loop_iterations = Index{3} << 20;  // of one pass of a peak loop
  std::function<void()> on_measured = {};  // told after every figure: for progress
};

// Of several passes: the best is what the machine can do, the mean what whoever shares it leaves.
struct Rate {
  double best = 0;
  double mean = 0;
};

struct ReadRate {
  int num_threads;
  double bytes_per_s;
};

struct PeakRate {
  std::string instruction;
  double operations_per_s;  // by all threads; a multiplication and an addition count as two
  double mean_per_s;        // the same, mean of the passes
};

struct MachineProfile {
  int num_threads = 0;
  std::vector<ReadRate> reads;  // by 1, 2, 4, ... and num_threads threads
  std::optional<PeakRate> int8;
  std::optional<PeakRate> bf16;
  std::optional<PeakRate> fp32;
  std::optional<double> barrier_s;  // of an empty loop on all threads; absent with one thread

  double read_bytes_per_s() const { return reads.back().bytes_per_s; }
};

enum class Peak { Int8, Bf16, Fp32 };

// The number of figures that measure_machine() takes: for progress.
Index num_machine_figures(int num_threads);

MachineProfile measure_machine(const ReadBuffer& buffer, const ProbeOptions& options);

// Single figures, for measuring them close to what they are compared with.

// Reading memory by all threads of the pool: a ReadBuffer's, or a mapped file as its pages are.
Rate measure_read(platform::ThreadPool& pool, std::span<const std::byte> bytes, int num_passes);
std::optional<PeakRate> measure_peak(platform::ThreadPool& pool,
                                     Peak peak,
                                     Index loop_iterations,
                                     int num_passes);

// Reading so many bytes again and again by all threads of the pool, of rising sizes up to the whole
// buffer: those that fit into caches show. Sizes below a few MiB per thread, which cannot be shared
// out, are left out.
struct WorkingSetRate {
  Index num_bytes;
  double bytes_per_s;
};
std::vector<WorkingSetRate> measure_working_sets(platform::ThreadPool& pool,
                                                 const ReadBuffer& buffer,
                                                 int num_passes);

// What the machine does at some moment, on average over a few passes: whoever shares it takes of
// that. A fraction of a second.
struct Moment {
  Rate read;                             // of memory
  double cached_bytes_per_s = 0;         // of the smallest of the working sets
  std::optional<double> barrier_s = {};  // as above
};
Moment measure_moment(platform::ThreadPool& pool, const ReadBuffer& buffer, int num_passes);

}  // namespace fathom::runtime
