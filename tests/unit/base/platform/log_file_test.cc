#include "fathom/base/platform/log_file.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::platform {
namespace {

using fathom::test::read_file;
using fathom::test::TempDir;
using fathom::test::write_file;

TEST(LogFile, WhatIsAppendedIsInTheFileAtOnce) {
  const TempDir dir;
  LogFile file(dir / "log", 0);
  file.append("one\n");
  EXPECT_EQ(read_file(dir / "log"), "one\n");
  file.append("two\n");
  file.sync();
  EXPECT_EQ(read_file(dir / "log"), "one\ntwo\n");
  EXPECT_EQ(file.num_bytes(), 8);
}

TEST(LogFile, OpeningCutsWhatIsBehindAndKeepsWhatIsBefore) {
  const TempDir dir;
  write_file(dir / "log", "one\ntwo\nhal");
  LogFile file(dir / "log", 8);
  file.append("three\n");
  EXPECT_EQ(read_file(dir / "log"), "one\ntwo\nthree\n");
}

TEST(LogFile, AShorterFileIsNotFilledUp) {
  const TempDir dir;
  write_file(dir / "log", "one\n");
  LogFile file(dir / "log", 100);
  EXPECT_EQ(file.num_bytes(), 4);
  file.append("two\n");
  EXPECT_EQ(read_file(dir / "log"), "one\ntwo\n");
}

TEST(LogFile, AFolderThatIsNotThereIsNamed) {
  EXPECT_TRUE(testing::fails_with(ErrorCode::Io, "/no/such/log: No such file",
                                  [] { LogFile("/no/such/log", 0); }));
}

}  // namespace
}  // namespace fathom::platform
