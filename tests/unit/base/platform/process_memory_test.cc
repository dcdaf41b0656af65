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

}  // namespace
}  // namespace fathom::platform
