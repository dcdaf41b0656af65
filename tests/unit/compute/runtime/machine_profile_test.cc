#include "fathom/compute/runtime/machine_profile.h"

#include <cmath>

#include <gtest/gtest.h>

#include "fathom/compute/backends/cpu/machine_peaks.h"

namespace fathom::runtime {
namespace {

// Small enough for a sanitised build; the figures mean nothing.
const ProbeOptions kSmall = {.num_threads = 3, .num_passes = 1, .loop_iterations = 1000};
constexpr Index kSmallBytes = Index{8} << 20;

MachineProfile measure(const ProbeOptions& options) {
  platform::ThreadPool pool({.num_threads = 2});
  return measure_machine(ReadBuffer(pool, kSmallBytes), options);
}

bool is_rate(double value) {
  return std::isfinite(value) && value > 0;
}

TEST(MachineProfile, ReadsAreMeasuredByOneTwoFourAndAllThreads) {
  const MachineProfile profile = measure(kSmall);
  EXPECT_EQ(profile.num_threads, 3);
  ASSERT_EQ(profile.reads.size(), 3U);
  EXPECT_EQ(profile.reads[0].num_threads, 1);
  EXPECT_EQ(profile.reads[1].num_threads, 2);
  EXPECT_EQ(profile.reads[2].num_threads, 3);
  for (const ReadRate& read : profile.reads) {
    EXPECT_TRUE(is_rate(read.bytes_per_s));
  }
  EXPECT_EQ(profile.read_bytes_per_s(), profile.reads[2].bytes_per_s);
}

TEST(MachineProfile, PeaksAreThereWhereTheProcessorHasTheInstruction) {
  const MachineProfile profile = measure(kSmall);
  EXPECT_EQ(profile.int8.has_value(), cpu::peak_loop(cpu::PeakNumber::Int8).has_value());
  EXPECT_EQ(profile.bf16.has_value(), cpu::peak_loop(cpu::PeakNumber::Bf16).has_value());
  EXPECT_EQ(profile.fp32.has_value(), cpu::peak_loop(cpu::PeakNumber::Fp32).has_value());
  for (const auto& peak : {profile.int8, profile.bf16, profile.fp32}) {
    if (peak) {
      EXPECT_TRUE(is_rate(peak->operations_per_s));
      EXPECT_FALSE(peak->instruction.empty());
    }
  }
}

TEST(MachineProfile, OneThreadHasNoBarrier) {
  ProbeOptions options = kSmall;
  EXPECT_TRUE(is_rate(measure(options).barrier_s.value()));
  options.num_threads = 1;
  EXPECT_FALSE(measure(options).barrier_s.has_value());
}

TEST(MachineProfile, EveryFigureIsTold) {
  for (const int num_threads : {1, 2, 3, 4}) {
    Index num_told = 0;
    ProbeOptions options = kSmall;
    options.num_threads = num_threads;
    options.on_measured = [&] { ++num_told; };
    measure(options);
    EXPECT_EQ(num_told, num_machine_figures(num_threads));
  }
}

TEST(MachineProfile, MemoryThatIsThereIsReadAsItIs) {
  platform::ThreadPool pool({.num_threads = 2});
  const std::vector<std::byte> odd(12345, std::byte{3});
  const Rate rate = measure_read(pool, odd, 2);
  EXPECT_TRUE(is_rate(rate.best));
  EXPECT_TRUE(is_rate(rate.mean));
  EXPECT_LE(rate.mean, rate.best);
  EXPECT_GT(default_buffer_bytes(), 0);
}

TEST(MachineProfile, AMomentHasMemoryCachesAndABarrierOfSeveralThreads) {
  platform::ThreadPool pool({.num_threads = 2});
  platform::ThreadPool alone({.num_threads = 1});
  const ReadBuffer buffer(pool, Index{12} << 20);
  const Moment moment = measure_moment(pool, buffer, 1);
  EXPECT_TRUE(is_rate(moment.read.mean));
  EXPECT_TRUE(is_rate(moment.cached_bytes_per_s));
  EXPECT_TRUE(is_rate(moment.barrier_s.value()));
  EXPECT_FALSE(measure_moment(alone, buffer, 1).barrier_s.has_value());
  // A buffer smaller than that is read whole.
  EXPECT_TRUE(
      is_rate(measure_moment(pool, ReadBuffer(pool, Index{1} << 20), 1).cached_bytes_per_s));
}

TEST(MachineProfile, WorkingSetsRiseFromAShareForEachThreadToTheLargest) {
  platform::ThreadPool pool({.num_threads = 2});
  const Index largest = Index{40} << 20;
  const std::vector<WorkingSetRate> rates =
      measure_working_sets(pool, ReadBuffer(pool, largest), 1);
  ASSERT_GE(rates.size(), 3U);
  EXPECT_EQ(rates.front().num_bytes, Index{8} << 20);
  for (std::size_t idx = 0; idx < rates.size(); ++idx) {
    EXPECT_TRUE(is_rate(rates[idx].bytes_per_s));
    EXPECT_LE(rates[idx].num_bytes, largest);
    EXPECT_TRUE(idx == 0 || rates[idx].num_bytes > rates[idx - 1].num_bytes);
  }
  EXPECT_TRUE(measure_working_sets(pool, ReadBuffer(pool, Index{1} << 20), 1).empty());
}

}  // namespace
}  // namespace fathom::runtime
