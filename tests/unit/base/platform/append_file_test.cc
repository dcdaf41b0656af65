#include "fathom/base/platform/append_file.h"

#include <string>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::platform {
namespace {

using fathom::testing::fails_with;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string read(const AppendFile& file, Index offset, Index count) {
  std::string text(to_size(count), '?');
  file.read(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

TEST(AppendFile, WhatWasAppendedCanBeReadAtOnceAndAcrossTheBuffer) {
  test::TempDir folder;
  AppendFile file(folder / "a", 0);
  std::string all;
  for (int i = 0; i < 90; ++i) {
    const std::string piece(10'007, static_cast<char>('a' + i % 26));
    file.append(bytes_of(piece));
    all += piece;
    const Index offset = to_index(all.size()) * i / 100;
    const Index count = to_index(all.size()) - offset;
    ASSERT_EQ(read(file, offset, count), all.substr(to_size(offset)));
  }
  file.sync();
  EXPECT_EQ(test::read_file(folder / "a"), all);
  EXPECT_EQ(file.num_bytes(), to_index(all.size()));
}

TEST(AppendFile, GoesOnFromAPlaceAndForgetsTheRest) {
  test::TempDir folder;
  test::write_file(folder / "a", "abcdef");
  AppendFile file(folder / "a", 4);
  EXPECT_EQ(read(file, 0, 2), "ab");  // all of it in the file, and not up to its end
  file.append(bytes_of("XY"));
  file.sync();
  EXPECT_EQ(test::read_file(folder / "a"), "abcdXY");
  EXPECT_TRUE(fails_with(ErrorCode::Io, "found 6 bytes, expected at least 7",
                         [&] { AppendFile(folder / "a", 7); }));
  EXPECT_TRUE(fails_with(ErrorCode::Io, "open", [&] { AppendFile(folder / "b/c", 0); }));
}

}  // namespace
}  // namespace fathom::platform
