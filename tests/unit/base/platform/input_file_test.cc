#include "fathom/base/platform/input_file.h"

#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::platform {
namespace {

std::string read(const InputFile& file, Index offset, std::size_t count) {
  std::string text(count, '?');
  file.read(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

TEST(InputFile, ReadsAnyPieceAlsoWhenItsNameIsGone) {
  test::TempDir folder;
  test::write_file(folder / "a", "abcdef");
  InputFile file(folder / "a");
  EXPECT_EQ(file.num_bytes(), 6);
  std::filesystem::remove(folder / "a");
  EXPECT_EQ(read(file, 2, 3), "cde");
  const InputFile moved(std::move(file));
  EXPECT_EQ(read(moved, 0, 6), "abcdef");
  EXPECT_EQ(read(moved, 6, 0), "");
}

TEST(InputFile, AFileThatEndsTooEarlyIsRefusedWithItsPlace) {
  test::TempDir folder;
  test::write_file(folder / "a", "abcdef");
  const InputFile file(folder / "a");
  std::filesystem::resize_file(folder / "a", 4);
  EXPECT_TRUE(testing::fails_with(ErrorCode::Io, "a: ends at byte 4, expected 1 more",
                                  [&] { read(file, 2, 3); }));
}

TEST(InputFile, OnlyRegularFilesAreOpened) {
  test::TempDir folder;
  test::write_file(folder / "a", "abc");
  std::filesystem::create_symlink(folder / "a", folder / "link");
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  const auto open = [](const std::filesystem::path& path) { return [path] { InputFile{path}; }; };
  EXPECT_TRUE(testing::fails_with(ErrorCode::Io, "none: No such file", open(folder / "none")));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Io, "link: ", open(folder / "link")));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Io, "expected a regular file", open(folder / "pipe")));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Io, "expected a regular file", open(folder.path())));
}

}  // namespace
}  // namespace fathom::platform
