// Time that passes, for progress and measurements.
#pragma once

#include <chrono>

namespace fathom::platform {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace fathom::platform
