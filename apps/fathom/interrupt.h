// SIGINT, SIGTERM and SIGHUP, handled by a thread of their own: the program ends with exit code 130
// and leaves no unfinished file behind, however long a step takes.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
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

  enum class Answer {
    EndProcess,     // at once, with exit code 130
    FlagInterrupt,  // SIGINT sets the flag and SIGTERM ends the process: for a dialogue
    FlagBoth,       // only the flag is set: for work that asks often and tidies up itself
    FlagFirst,      // the first sets the flag, the next one ends the process: for long steps
  };
  void set_answer(Answer answer);
  bool is_interrupted() const { return is_interrupted_; }
  // Returns when it is: for a server, whose threads do the work.
  void wait() const { is_interrupted_.wait(false); }
  // The interrupt was dealt with; the next one counts again.
  void clear() { is_interrupted_ = false; }
  // Called, from the watching thread, for SIGHUP, which then ends nothing: to read settings again.
  void set_on_hangup(std::function<void()> action);
  // Called, from the watching thread, before a signal ends the process: to restore a terminal.
  void set_farewell(std::function<void()> farewell);

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
  Answer answer_ = Answer::EndProcess;
  std::function<void()> farewell_;
  std::function<void()> on_hangup_;
  std::filesystem::path unfinished_;
  std::thread thread_;
};

}  // namespace fathom::app
