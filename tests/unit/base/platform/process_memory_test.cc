#include "fathom/base/platform/process_memory.h"

#include <vector>

#include <gtest/gtest.h>

namespace fathom::platform {
namespace {

TEST(ProcessMemory, PeakGrowsByWhatWasTouchedAndDoesNotShrink) {
  const auto before = peak_resident_bytes();
  ASSERT_TRUE(before.has_value());
  constexpr Index kBytes = 64 << 20;
  { const std::vector<char> touched(to_size(kBytes), 1); }
  const auto after = peak_resident_bytes();
  ASSERT_TRUE(after.has_value());
  EXPECT_GE(*after - *before, kBytes / 2);
  EXPECT_EQ(*before % 1024, 0);
}

TEST(ProcessMemory, ResetPeakForgetsWhatWasGivenBack) {
  constexpr Index kBytes = 256 << 20;
  { const std::vector<char> touched(to_size(kBytes), 1); }
  const Index before = *peak_resident_bytes();
  ASSERT_TRUE(reset_peak_resident());
  EXPECT_LE(*peak_resident_bytes(), before - kBytes / 2);
}

TEST(ProcessMemory, AnonymousMemoryIsToldFromMappedFiles) {
  const auto before = resident_bytes();
  ASSERT_TRUE(before.has_value());
  constexpr Index kBytes = 64 << 20;
  const std::vector<char> touched(to_size(kBytes), 1);
  const auto after = resident_bytes();
  ASSERT_TRUE(after.has_value());
  EXPECT_GE(after->anonymous - before->anonymous, kBytes / 2);
  EXPECT_LT(after->file_mapped - before->file_mapped, kBytes / 2);
  EXPECT_GT(after->file_mapped, 0);  // the program itself
}

TEST(ProcessMemory, AvailableMemoryIsThatOfTheMachine) {
  const auto available = available_memory_bytes();
  ASSERT_TRUE(available.has_value());
  EXPECT_GT(*available, resident_bytes()->anonymous / 2);
  const auto total = total_memory_bytes();
  ASSERT_TRUE(total.has_value());
  EXPECT_GT(*total, *available);
}

}  // namespace
}  // namespace fathom::platform
