#include "fathom/base/platform/small_file.h"

#include <string>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::platform {
namespace {

TEST(WriteFile, ReplacesAnOlderFile) {
  const test::TempDir folder;
  test::write_file(folder / "data", "older and longer");
  const std::string bytes("a\0b", 3);
  write_file(folder / "data", bytes);
  EXPECT_EQ(test::read_file(folder / "data"), bytes);
  write_file(folder / "empty", "");
  EXPECT_EQ(test::read_file(folder / "empty"), "");
}

TEST(WriteFile, TakesABareNameAndNamesAFolderThatIsNotThere) {
  const test::TempDir folder;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  write_file("bare", "text");
  std::filesystem::current_path(before);
  EXPECT_EQ(test::read_file(folder / "bare"), "text");
  EXPECT_TRUE(testing::fails_with(ErrorCode::Io, "gone",
                                  [&] { write_file(folder / "gone/file", "text"); }));
}

TEST(ReadFile, ReturnsEveryByte) {
  const test::TempDir folder;
  const std::string bytes("a\0b\r\n\xff", 6);
  test::write_file(folder / "data", bytes);
  EXPECT_EQ(read_file(folder / "data"), bytes);
  test::write_file(folder / "empty", "");
  EXPECT_EQ(read_file(folder / "empty"), "");
}

TEST(ReadFile, NamesAFileThatIsNotThereAndAFolder) {
  const test::TempDir folder;
  EXPECT_TRUE(testing::fails_with(ErrorCode::Io, "gone", [&] { read_file(folder / "gone"); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Io, "expected a regular file",
                                  [&] { read_file(folder.path()); }));
}

}  // namespace
}  // namespace fathom::platform
