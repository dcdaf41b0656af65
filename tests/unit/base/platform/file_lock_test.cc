#include "fathom/base/platform/file_lock.h"

#include <unistd.h>

#include <csignal>
#include <utility>

#include <gtest/gtest.h>
#include <sys/wait.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::platform {
namespace {

TEST(FileLock, IsHeldByOneAtATime) {
  test::TempDir folder;
  {
    auto first = FileLock::try_lock(folder / "lock");
    ASSERT_TRUE(first.has_value());
    EXPECT_FALSE(FileLock::try_lock(folder / "lock").has_value());
    const FileLock moved(std::move(*first));
    EXPECT_FALSE(FileLock::try_lock(folder / "lock").has_value());
  }
  EXPECT_TRUE(FileLock::try_lock(folder / "lock").has_value());
}

TEST(FileLock, EndsWithAProcessThatIsKilled) {
  test::TempDir folder;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto lock = FileLock::try_lock(folder / "lock");
    const char held = lock.has_value() ? 'y' : 'n';
    if (write(ready[1], &held, 1) == 1) {
      pause();
    }
    _exit(1);
  }
  char held = '?';
  ASSERT_EQ(read(ready[0], &held, 1), 1);
  EXPECT_EQ(held, 'y');
  EXPECT_FALSE(FileLock::try_lock(folder / "lock").has_value());
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(FileLock::try_lock(folder / "lock").has_value());
  close(ready[0]);
  close(ready[1]);
}

TEST(FileLock, AFolderThatIsNotThereIsAnError) {
  test::TempDir folder;
  EXPECT_TRUE(testing::fails_with(ErrorCode::Io, "none/lock: No such file",
                                  [&] { FileLock::try_lock(folder / "none/lock"); }));
}

}  // namespace
}  // namespace fathom::platform
