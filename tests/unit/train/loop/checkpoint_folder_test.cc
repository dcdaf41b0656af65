#include "fathom/train/loop/checkpoint_folder.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::train {
namespace {

using fathom::test::read_file;
using fathom::test::TempDir;
using fathom::test::write_file;
using testing::fails_with;

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void write(CheckpointFolder& folder, Index step, CheckpointKind kind = CheckpointKind::Regular) {
  std::vector<float> value = {static_cast<float>(step)};
  folder.write(step, kind, {{"run", std::to_string(step)}},
               std::vector<optim::StateTensor>{{"x", 1, 1, value}});
}

struct Restored {
  std::string run;
  std::vector<std::string> damage;
  std::optional<CheckpointFolder::Name> name;
};

Restored restore(const CheckpointFolder& folder, bool regular_only = false) {
  Restored restored;
  restored.name = folder.restore_newest(
      regular_only, [&](const CheckpointReader& reader) { restored.run = reader.fact("run"); },
      [&](const std::string& damage) { restored.damage.push_back(damage); });
  return restored;
}

TEST(CheckpointFolder, KeepsTheNewestRegularOnes) {
  const TempDir dir;
  CheckpointFolder folder(dir / "c", 2);
  EXPECT_TRUE(folder.is_empty());
  for (const Index step : {0, 100, 200, 300}) {
    write(folder, step);
  }
  EXPECT_EQ(names_in(dir / "c"),
            (std::vector<std::string>{"step-000000200.safetensors", "step-000000300.safetensors"}));
  EXPECT_EQ(restore(folder).run, "300");
}

TEST(CheckpointFolder, AStopIsGoneOnFromUntilTheNextRegularOneAndNoRollbackTakesIt) {
  const TempDir dir;
  CheckpointFolder folder(dir / "c", 2);
  write(folder, 100);
  write(folder, 150, CheckpointKind::Stop);
  EXPECT_EQ(restore(folder).run, "150");
  EXPECT_EQ(restore(folder, true).run, "100");
  write(folder, 200);
  EXPECT_EQ(names_in(dir / "c"),
            (std::vector<std::string>{"step-000000100.safetensors", "step-000000200.safetensors"}));
}

TEST(CheckpointFolder, ADamagedOneIsSaidAndTheOneBeforeIsTaken) {
  const TempDir dir;
  CheckpointFolder folder(dir / "c", 3);
  write(folder, 100);
  write(folder, 200);
  const auto newest = dir / "c/step-000000200.safetensors";
  std::string bytes = read_file(newest);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_file(newest, bytes);
  const Restored restored = restore(folder);
  EXPECT_EQ(restored.run, "100");
  ASSERT_EQ(restored.damage.size(), 1U);
  EXPECT_NE(restored.damage[0].find("step-000000200.safetensors: damaged"), std::string::npos);
  // What was newer than the step that is written next must not be gone on from later.
  write(folder, 150);
  EXPECT_EQ(restore(folder).run, "150");
}

TEST(CheckpointFolder, WhereAllAreDamagedItIsAnError) {
  const TempDir dir;
  CheckpointFolder folder(dir / "c", 3);
  write_file(dir / "c/step-000000200.safetensors", "no");
  EXPECT_TRUE(fails_with(ErrorCode::InvalidCheckpoint, "every checkpoint is damaged",
                         [&] { restore(folder); }));
  EXPECT_TRUE(names_in(dir / "c").size() == 1);
}

TEST(CheckpointFolder, AnEmptyOneHasNothingToGoOnFrom) {
  const TempDir dir;
  write_file(dir / "readme.txt", "x");
  write_file(dir / "step-.safetensors", "x");
  write_file(dir / "step-12x.safetensors", "x");
  const CheckpointFolder folder(dir.path(), 1);
  EXPECT_FALSE(restore(folder).name.has_value());
  EXPECT_EQ(names_in(dir.path()).size(), 3U) << "other people's files stay";
}

TEST(CheckpointFolder, UnfinishedFilesOfAKilledProcessGo) {
  const TempDir dir;
  write_file(dir / "step-000000100.safetensors.partial-123", "x");
  const CheckpointFolder folder(dir.path(), 1);
  EXPECT_TRUE(names_in(dir.path()).empty());
}

TEST(CheckpointFolder, TheBestStandsBesideTheOthers) {
  const TempDir dir;
  CheckpointFolder folder(dir / "c", 1);
  EXPECT_FALSE(folder.best().has_value());
  std::vector<float> value = {1};
  folder.write_best({{"run", "b"}}, std::vector<optim::StateTensor>{{"x", 1, 1, value}});
  write(folder, 100);
  write(folder, 200);
  ASSERT_TRUE(folder.best().has_value());
  restore_checkpoint(*folder.best(),
                     [](const CheckpointReader& reader) { EXPECT_EQ(reader.fact("run"), "b"); });
  EXPECT_EQ(restore(folder).run, "200");
}

TEST(CheckpointFolder, ReasonsOtherThanDamageAreNotSwallowed) {
  const TempDir dir;
  CheckpointFolder folder(dir / "c", 1);
  write(folder, 1);
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "other settings", [&] {
    static_cast<void>(folder.restore_newest(
        false, [](const CheckpointReader&) { fail(ErrorCode::InvalidArgument, "other settings"); },
        [](const std::string&) {}));
  }));
}

TEST(CheckpointFolder, AFolderThatCannotBeMadeIsNamed) {
  const TempDir dir;
  write_file(dir / "file", "");
  EXPECT_TRUE(fails_with(ErrorCode::Io, "file/c: ", [&] { CheckpointFolder(dir / "file/c", 1); }));
}

}  // namespace
}  // namespace fathom::train
