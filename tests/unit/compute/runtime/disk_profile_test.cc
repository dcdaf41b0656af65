#include "fathom/compute/runtime/disk_profile.h"

#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::runtime {
namespace {

using testing::fails_with;

TEST(DiskProfile, EveryDepthHasARateAndNoFileIsLeft) {
  const test::TempDir dir;
  int num_told = 0;
  const DiskProfile profile = measure_disk({.folder = dir.path(),
                                            .file_bytes = Index{4} << 20,
                                            .queue_depths = {1, 3},
                                            .seconds_per_depth = 0.02,
                                            .on_measured = [&] { ++num_told; }});
  ASSERT_EQ(profile.reads.size(), 2U);
  EXPECT_EQ(profile.reads[1].queue_depth, 3);
  for (const DiskRate& rate : profile.reads) {
    EXPECT_TRUE(std::isfinite(rate.bytes_per_s) && rate.bytes_per_s > 0);
  }
  EXPECT_EQ(num_told, 3);
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(DiskProfile, AFolderThatIsNotThereIsNamed) {
  EXPECT_TRUE(fails_with(ErrorCode::Io, "/no/such/folder",
                         [] { measure_disk({.folder = "/no/such/folder"}); }));
}

TEST(DiskProfile, SizesThatCannotBeAreRefused) {
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "disk probe",
                         [] { measure_disk({.folder = "/tmp", .block_bytes = 1000}); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "disk probe",
                         [] { measure_disk({.folder = "/tmp", .file_bytes = 10}); }));
}

}  // namespace
}  // namespace fathom::runtime
