// How many a second, over the last few seconds. The time is passed in.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>

#include "fathom/base/core/index.h"
#include "fathom/base/platform/clock.h"

namespace fathom::engine {

class RateMeter {
 public:
  static constexpr std::int64_t kSeconds = 5;

  void add(platform::Clock::time_point now, Index count) {
    Slot& slot = slot_of(second_of(now));
    slot.count += count;
  }
  // Over the kSeconds full seconds before this one.
  double per_s(platform::Clock::time_point now) const {
    const std::int64_t second = second_of(now);
    Index total = 0;
    for (const Slot& slot : slots_) {
      total += slot.second < second && slot.second >= second - kSeconds ? slot.count : 0;
    }
    return static_cast<double>(total) / static_cast<double>(kSeconds);
  }

 private:
  struct Slot {
    std::int64_t second = -1;
    Index count = 0;
  };
  static std::int64_t second_of(platform::Clock::time_point now) {
    return std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
  }
  Slot& slot_of(std::int64_t second) {
    Slot& slot = slots_[static_cast<std::size_t>(second % (kSeconds + 1))];
    if (slot.second != second) {
      slot = {.second = second, .count = 0};
    }
    return slot;
  }

  std::array<Slot, kSeconds + 1> slots_{};
};

}  // namespace fathom::engine
