#include "fathom/base/platform/output_file.h"

#include <csignal>
#include <string>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "fathom/base/core/error.h"

#include "tests/support/temp_dir.h"

namespace fathom::platform {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

Index num_files(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder),
                       std::filesystem::directory_iterator());
}

TEST(OutputFile, AppearsUnderItsNameOnlyWhenCommitted) {
  test::TempDir folder;
  OutputFile file(folder / "a", 6);
  file.write(3, bytes_of("def"));
  file.write(0, bytes_of("abc"));
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
  file.commit();
  EXPECT_EQ(test::read_file(folder / "a"), "abcdef");
  EXPECT_EQ(num_files(folder.path()), 1);
}

TEST(OutputFile, LeavesNothingBehindAndTheOldFileAloneWhenDropped) {
  test::TempDir folder;
  test::write_file(folder / "a", "old");
  {
    OutputFile file(folder / "a", 3);
    file.write(0, bytes_of("new"));
    const OutputFile moved(std::move(file));
  }
  EXPECT_EQ(test::read_file(folder / "a"), "old");
  EXPECT_EQ(num_files(folder.path()), 1);
}

TEST(OutputFile, ARefusalNamesFileAndReason) {
  test::TempDir folder;
  try {
    OutputFile(folder / "no/such/folder", 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::Io);
    EXPECT_EQ(error.what(),
              "create " + (folder / "no/such/folder").string() + ": No such file or directory");
  }
}

// A limit on the size of files stands for a full disk: the reservation fails the same way.
TEST(OutputFile, ADiskThatCannotHoldTheFileIsFoundOutBeforeTheWork) {
  test::TempDir folder;
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1 << 20, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string message;
  try {
    OutputFile(folder / "big", 1 << 24);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::Io);
    message = error.what();
  }
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(message, "write " + (folder / "big").string() + ": File too large");
  EXPECT_EQ(num_files(folder.path()), 0);
}

TEST(OutputFile, AFolderIsSyncedOrNamed) {
  test::TempDir folder;
  sync_folder(folder.path());
  try {
    sync_folder(folder / "none");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::Io);
    EXPECT_EQ(error.what(), "write " + (folder / "none").string() + ": No such file or directory");
  }
}

TEST(OutputFile, WhatAKilledProcessLeftIsRemovedAndNothingElse) {
  const test::TempDir dir;
  test::write_file(dir / "a.partial-12", "x");
  test::write_file(dir / "a", "x");
  std::filesystem::create_directory(dir / "b.partial-12");
  remove_unfinished_files(dir.path());
  EXPECT_FALSE(std::filesystem::exists(dir / "a.partial-12"));
  EXPECT_TRUE(std::filesystem::exists(dir / "a"));
  EXPECT_TRUE(std::filesystem::exists(dir / "b.partial-12"));
}

}  // namespace
}  // namespace fathom::platform
