#include "apps/fathom/progress.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

namespace fathom::app {
namespace {

constexpr auto kTerminalInterval = std::chrono::milliseconds(200);
constexpr auto kLogInterval = std::chrono::seconds(15);

}  // namespace

std::string duration_text(double seconds) {
  const auto total = Index{std::lround(seconds)};
  return total < 3600 ? fmt::format("{}:{:02}", total / 60, total % 60)
                      : fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
}

Progress::Progress(std::string what, Index total, std::string unit, double unit_size)
    : what_(std::move(what)),
      total_(total),
      unit_(std::move(unit)),
      unit_size_(unit_size),
      is_terminal_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() {
  finish();
}

void Progress::finish() {
  if (is_shown_ && is_terminal_) {
    std::fputs("\r\x1b[K", stderr);
  }
  is_shown_ = false;
}

void Progress::update(Index done) {
  const Clock::time_point time = Clock::now();
  const bool is_due =
      is_terminal_ ? time - last_ >= kTerminalInterval : time - last_ >= kLogInterval;
  if (!is_due || done <= 0 || done >= total_) {
    return;
  }
  last_ = time;
  is_shown_ = true;
  const double seconds = std::chrono::duration<double>(time - start_).count();
  const double rate = static_cast<double>(done) / seconds;
  const int digits = unit_size_ >= 1e6 ? 2 : 0;
  const std::string line =
      fmt::format("{}: {:.{}f} / {:.{}f} {}, {:.2f} {}/s, {} left", what_,
                  static_cast<double>(done) / unit_size_, digits,
                  static_cast<double>(total_) / unit_size_, digits, unit_, rate / unit_size_, unit_,
                  duration_text(static_cast<double>(total_ - done) / rate));
  fmt::print(stderr, "{}{}{}", is_terminal_ ? "\r" : "", line, is_terminal_ ? "\x1b[K" : "\n");
}

}  // namespace fathom::app
