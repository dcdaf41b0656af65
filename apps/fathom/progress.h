// A line on stderr that says how far a long run is: what, done of total, rate, time left.
#pragma once

#include <chrono>
#include <string>

#include "fathom/base/core/index.h"

namespace fathom::app {

// "12:05" or "3:12:05".
std::string duration_text(double seconds);

// On a terminal the line is rewritten in place and wiped at the end; elsewhere a line is written
// only every 15 seconds, so that short runs are silent.
class Progress {
 public:
  // Done and total are shown divided by `unit_size`: {"write", total_bytes, "GB", 1e9}.
  Progress(std::string what, Index total, std::string unit, double unit_size = 1);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void set_total(Index total) { total_ = total; }
  void update(Index done);
  void finish();  // before anything else is printed; the destructor does it too

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  Index total_;
  std::string unit_;
  double unit_size_;
  bool is_terminal_;
  bool is_shown_ = false;
  Clock::time_point start_;
  Clock::time_point last_;
};

}  // namespace fathom::app
