// SIGINT and SIGTERM, handled by a thread of their own: the program ends with exit code 130 and
// leaves no unfinished file behind, however long a step takes.
#pragma once

#include <atomic>
#include <filesystem>
#include <mutex>
#include <thread>
#include <vector>

namespace fathom::app {

class InterruptWatch {
 public:
  // Before any other thread starts: they must inherit that the signals are blocked.
  InterruptWatch();
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

  // From here on an interrupt only sets the flag, for work that asks often and tidies up itself.
  void only_flag();
  bool is_interrupted() const { return is_interrupted_; }

  // Runs `action`, which an interrupt does not cut, and afterwards owns what it returns: the path
  // of an unfinished file (empty: there is none any more).
  template <typename Action>
  void change_unfinished(const Action& action) {
    const std::lock_guard lock(mutex_);
    unfinished_ = action();
  }

 private:
  void watch();
  void end_process();

  int signals_ = -1;
  int stop_ = -1;
  std::atomic<bool> is_interrupted_{false};
  std::mutex mutex_;
  bool only_flag_ = false;
  std::filesystem::path unfinished_;
  std::thread thread_;
};

}  // namespace fathom::app
