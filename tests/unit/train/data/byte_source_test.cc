#include "fathom/train/data/byte_source.h"

#include <string>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::data {
namespace {

using fathom::testing::fails_with;

std::string read_all(const std::filesystem::path& path, std::size_t at_a_time) {
  const auto source = open_bytes(path);
  std::string text;
  std::string piece(at_a_time, '\0');
  while (const Index count = source->read(std::as_writable_bytes(std::span(piece)))) {
    text += piece.substr(0, to_size(count));
  }
  EXPECT_EQ(source->num_bytes_read(), to_index(std::filesystem::file_size(path)));
  return text;
}

// printf 'hello hello hello hello\n' | gzip -9
constexpr unsigned char kHello[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03,
                                    0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x57, 0xc8, 0x40, 0x27, 0xb9,
                                    0x00, 0x00, 0x88, 0x59, 0x0b, 0x18, 0x00, 0x00, 0x00};
const std::string kPacked(reinterpret_cast<const char*>(kHello), sizeof kHello);
const std::string kUnpacked = "hello hello hello hello\n";

TEST(ByteSource, PlainFilesAreReadAsTheyAre) {
  test::TempDir folder;
  const std::string text(300'000, 'x');
  test::write_file(folder / "a.txt", text);
  EXPECT_EQ(read_all(folder / "a.txt", 777), text);
  test::write_file(folder / "a.txt", "");
  EXPECT_EQ(read_all(folder / "a.txt", 777), "");
}

TEST(ByteSource, GzipIsUnpackedMemberByMember) {
  test::TempDir folder;
  for (const std::size_t at_a_time : {1U, 5U, 100U}) {
    test::write_file(folder / "a.gz", kPacked + kPacked);
    EXPECT_EQ(read_all(folder / "a.gz", at_a_time), kUnpacked + kUnpacked);
    // A member with a name, a comment and extra bytes.
    std::string named = kPacked;
    named[3] = 4 | 8 | 16;
    named.insert(10, std::string("\x02\x00XYname\0comment\0", 17));
    test::write_file(folder / "a.gz", named);
    EXPECT_EQ(read_all(folder / "a.gz", at_a_time), kUnpacked);
  }
}

TEST(ByteSource, DamagedGzipIsRefused) {
  test::TempDir folder;
  const auto refuses = [&](const std::string& bytes) {
    test::write_file(folder / "a.gz", bytes);
    return fails_with(ErrorCode::InvalidArgument, (folder / "a.gz").string() + ": near byte",
                      [&] { read_all(folder / "a.gz", 100); });
  };
  for (std::size_t size = 1; size < kPacked.size(); ++size) {
    EXPECT_TRUE(refuses(kPacked.substr(0, size))) << size;
  }
  for (const std::size_t at : {0U, 2U, 12U, 22U, 27U}) {
    std::string damaged = kPacked;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x11);
    EXPECT_TRUE(refuses(damaged)) << at;
  }
  EXPECT_TRUE(refuses(kPacked + "more"));
}

}  // namespace
}  // namespace fathom::data
