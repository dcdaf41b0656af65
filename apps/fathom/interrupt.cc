#include "apps/fathom/interrupt.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <string_view>
#include <utility>

#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include "fathom/base/core/error.h"

namespace fathom::app {

InterruptWatch::InterruptWatch() {
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGINT);
  sigaddset(&mask, SIGTERM);
  sigaddset(&mask, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &mask, nullptr);
  signals_ = signalfd(-1, &mask, SFD_CLOEXEC);
  stop_ = eventfd(0, EFD_CLOEXEC);
  if (signals_ < 0 || stop_ < 0) {
    fail(ErrorCode::Io, "cannot watch for signals: no file descriptor left");
  }
  thread_ = std::thread([this] { watch(); });
}

InterruptWatch::~InterruptWatch() {
  const std::uint64_t one = 1;
  // Cannot fail: the counter is far from full.
  [[maybe_unused]] const ssize_t written = write(stop_, &one, sizeof one);
  thread_.join();
  close(signals_);
  close(stop_);
}

void InterruptWatch::set_answer(Answer answer) {
  const std::lock_guard lock(mutex_);
  answer_ = answer;
}

void InterruptWatch::set_farewell(std::function<void()> farewell) {
  const std::lock_guard lock(mutex_);
  farewell_ = std::move(farewell);
}

void InterruptWatch::set_on_hangup(std::function<void()> action) {
  const std::lock_guard lock(mutex_);
  on_hangup_ = std::move(action);
}

void InterruptWatch::watch() {
  std::array<pollfd, 2> sources = {{{.fd = signals_, .events = POLLIN, .revents = 0},
                                    {.fd = stop_, .events = POLLIN, .revents = 0}}};
  while (true) {
    if (poll(sources.data(), sources.size(), -1) < 0) {
      continue;
    }
    if (sources[1].revents != 0) {
      return;
    }
    signalfd_siginfo info;
    if (read(signals_, &info, sizeof info) != sizeof info) {
      continue;
    }
    const std::lock_guard lock(mutex_);
    if (info.ssi_signo == SIGHUP && on_hangup_) {
      on_hangup_();
      continue;
    }
    const bool is_first = !is_interrupted_.exchange(true);
    is_interrupted_.notify_all();
    const bool is_flag_enough = answer_ == Answer::FlagBoth ||
                                (answer_ == Answer::FlagFirst && is_first) ||
                                (answer_ == Answer::FlagInterrupt && info.ssi_signo == SIGINT);
    if (!is_flag_enough) {
      end_process();
    }
  }
}

// Threads may be in the middle of a step, so nothing is unwound.
void InterruptWatch::end_process() {
  if (!unfinished_.empty()) {
    unlink(unfinished_.c_str());
  }
  if (farewell_) {
    farewell_();
  }
  constexpr std::string_view kMessage = "fathom: interrupted\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kMessage.data(), kMessage.size());
  _exit(exit_code(ErrorCode::Interrupted));
}

}  // namespace fathom::app
