#include "fathom/model/weights/checkpoint_writer.h"

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"

#include "tests/support/temp_dir.h"

namespace fathom::weights {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST(CheckpointWriter, PutsBytesOfTensorsWhereTheLayoutSays) {
  test::TempDir folder;
  CheckpointWriter writer(folder / "out");
  const Index file_idx = writer.add_file("a.bin", 8);
  writer.add_tensor({file_idx, 2, 3});
  writer.add_tensor({file_idx, 5, 3});
  writer.write_to_file(file_idx, 0, bytes_of("h:"));
  writer.write(1, 0, bytes_of("def"));
  writer.write(0, 1, bytes_of("bc"));
  writer.write(0, 0, bytes_of("a"));
  writer.add_text("config.json", "{}");
  writer.commit();
  EXPECT_EQ(test::read_file(folder / "out/a.bin"), "h:abcdef");
  EXPECT_EQ(test::read_file(folder / "out/config.json"), "{}");
}

TEST(CheckpointWriter, RefusesBytesBeyondTheTensor) {
  test::TempDir folder;
  CheckpointWriter writer(folder / "out");
  writer.add_tensor({writer.add_file("a.bin", 8), 0, 3});
  EXPECT_THROW(writer.write(0, 2, bytes_of("xy")), Error);
  EXPECT_THROW(writer.write(0, -1, bytes_of("x")), Error);
}

TEST(CheckpointWriter, RemovesTheFolderItMadeButNotOneThatWasThere) {
  test::TempDir folder;
  std::filesystem::create_directory(folder / "old");
  for (const char* name : {"old", "new"}) {
    CheckpointWriter writer(folder / name);
    writer.add_text("config.json", "{}");
    const CheckpointWriter moved(std::move(writer));
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "new"));
  EXPECT_TRUE(std::filesystem::is_empty(folder / "old"));
}

TEST(CheckpointWriter, AFileThatCannotHaveItsNameTakesTheOthersWithIt) {
  test::TempDir folder;
  CheckpointWriter writer(folder.path());
  writer.add_text("first.json", "{}");
  writer.add_text("second.json", "{}");
  std::filesystem::create_directories(folder / "second.json/in-the-way");
  EXPECT_THROW(writer.commit(), Error);
  EXPECT_FALSE(std::filesystem::exists(folder / "first.json"));
}

}  // namespace
}  // namespace fathom::weights
