#include "fathom/compute/backends/cpu/machine_peaks.h"

#include <numeric>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::cpu {
namespace {

TEST(MachinePeaks, LoopsRunAndReturn) {
  for (const PeakNumber number : {PeakNumber::Int8, PeakNumber::Bf16, PeakNumber::Fp32}) {
    if (const auto loop = peak_loop(number)) {
      EXPECT_GT(loop->operations, 0);
      // Products and additions of twelve sums; of four tiles of 16 by 16 sums in eight iterations.
      const bool is_in_tiles = loop->instruction.starts_with("td");
      EXPECT_EQ(loop->operations % (is_in_tiles ? 4 * 16 * 16 * 2 / 8 : 12 * 2), 0);
      loop->run(1);
      loop->run(100);
    }
  }
}

TEST(MachinePeaks, EveryProcessorOfOursMultipliesFp32) {
#if defined(__x86_64__) || defined(__aarch64__)
  EXPECT_TRUE(peak_loop(PeakNumber::Fp32).has_value());
#endif
}

// Words of eight bytes where vectors reach, single bytes at the end: each is read once.
std::uint64_t expected_sum(const std::byte* data, Index num_bytes, Index vector_bytes) {
  std::uint64_t sum = 0;
  Index at = 0;
  for (; at + vector_bytes <= num_bytes; at += vector_bytes) {
    for (Index word = at; word < at + vector_bytes; word += 8) {
      std::uint64_t value = 0;
      for (Index byte = 0; byte < 8; ++byte) {
        value |= static_cast<std::uint64_t>(data[word + byte]) << (8 * byte);
      }
      sum += value;
    }
  }
  for (; at < num_bytes; ++at) {
    sum += static_cast<std::uint64_t>(data[at]);
  }
  return sum;
}

TEST(MachinePeaks, SumReadsEveryByteOnceWhateverSizeAndAlignment) {
  std::vector<std::byte> bytes(3000);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(i * 37 + 11);
  }
  for (const Index size : {0, 1, 7, 8, 127, 128, 511, 512, 513, 1024, 2900}) {
    for (const Index first : {0, 1, 13}) {
      const std::byte* data = bytes.data() + first;
      const std::uint64_t found = sum_bytes({data, to_size(size)});
      // Eight vectors of 16, 32 or 64 bytes at a time, as the instruction set has them.
      const bool is_known =
          found == expected_sum(data, size, 128) || found == expected_sum(data, size, 256) ||
          found == expected_sum(data, size, 512) || found == expected_sum(data, size, 64);
      EXPECT_TRUE(is_known) << size << " bytes from " << first;
    }
  }
}

}  // namespace
}  // namespace fathom::cpu
