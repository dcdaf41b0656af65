#include "fathom/base/platform/mapped_file.h"

#include <string>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::platform {
namespace {

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(MappedFile, HasTheBytesOfTheFileWhateverTheOptions) {
  const test::TempDir folder;
  std::string bytes(100'001, 'x');
  bytes[4096] = '\0';
  bytes.back() = 'y';
  test::write_file(folder / "data", bytes);
  for (const bool huge_pages : {false, true}) {
    for (const bool populate : {false, true}) {
      const MappedFile file(folder / "data", {.huge_pages = huge_pages, .populate = populate});
      EXPECT_EQ(text_of(file), bytes);
    }
  }
}

TEST(MappedFile, PagesThatWereGivenBackAreReadAgain) {
  const test::TempDir folder;
  const std::string bytes(300'001, 'x');
  test::write_file(folder / "data", bytes);
  const MappedFile file(folder / "data");
  EXPECT_EQ(text_of(file), bytes);
  give_back_pages(file.bytes().data() + 5, 200'000);
  give_back_pages(file.bytes().data() + 5, 10);  // no whole page
  EXPECT_EQ(text_of(file), bytes);
}

TEST(MappedFile, EmptyFileIsAnEmptySpan) {
  const test::TempDir folder;
  test::write_file(folder / "empty", "");
  EXPECT_TRUE(MappedFile(folder / "empty").bytes().empty());
  EXPECT_TRUE(MappedFile().bytes().empty());
}

TEST(MappedFile, MissingFileIsNamedWithTheSystemsReason) {
  const test::TempDir folder;
  EXPECT_TRUE(testing::fails_with(ErrorCode::Io, "gone", [&] { MappedFile(folder / "gone"); }));
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::Io, "No such file", [&] { MappedFile(folder / "gone"); }));
}

TEST(MappedFile, FolderIsNotAFile) {
  const test::TempDir folder;
  EXPECT_TRUE(testing::fails_with(ErrorCode::Io, "expected a regular file",
                                  [&] { MappedFile(folder.path()); }));
}

TEST(MappedFile, MoveLeavesTheBytesWithTheTarget) {
  const test::TempDir folder;
  test::write_file(folder / "a", "first");
  test::write_file(folder / "b", "second");
  MappedFile first(folder / "a");
  MappedFile moved(std::move(first));
  EXPECT_EQ(text_of(moved), "first");
  moved = MappedFile(folder / "b");
  EXPECT_EQ(text_of(moved), "second");
}

TEST(MappedFile, RemovedFileStaysReadableWhileMapped) {
  const test::TempDir folder;
  test::write_file(folder / "a", "bytes");
  const MappedFile file(folder / "a");
  std::filesystem::remove(folder / "a");
  EXPECT_EQ(text_of(file), "bytes");
}

}  // namespace
}  // namespace fathom::platform
