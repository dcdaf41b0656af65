#include "fathom/model/sampling/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::sampling {

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  for (std::string& stop : stops) {
    if (stop.empty()) {
      fail(ErrorCode::InvalidArgument, "stop[", stops_.size(),
           "]: expected a string of at least one byte, found an empty one");
    }
    Progress progress{.stop = std::move(stop), .fallback = {}};
    progress.fallback.assign(progress.stop.size() + 1, 0);
    for (std::size_t length = 1; length < progress.stop.size(); ++length) {
      Index border = progress.fallback[length];
      while (border > 0 && progress.stop[to_size(border)] != progress.stop[length]) {
        border = progress.fallback[to_size(border)];
      }
      progress.fallback[length + 1] =
          progress.stop[to_size(border)] == progress.stop[length] ? border + 1 : 0;
    }
    stops_.push_back(std::move(progress));
  }
}

void StopMatcher::advance(Progress& progress, char byte) {
  while (progress.matched > 0 && progress.stop[to_size(progress.matched)] != byte) {
    progress.matched = progress.fallback[to_size(progress.matched)];
  }
  if (progress.stop[to_size(progress.matched)] == byte) {
    ++progress.matched;
  }
}

bool StopMatcher::push(std::string_view piece, std::string& text) {
  if (stop_idx_ >= 0) {
    return true;
  }
  for (const char byte : piece) {
    held_ += byte;
    Index longest = 0;  // what the end of the text may become part of
    for (std::size_t i = 0; i < stops_.size(); ++i) {
      Progress& progress = stops_[i];
      advance(progress, byte);
      const bool is_whole = progress.matched == to_index(progress.stop.size());
      if (is_whole &&
          (stop_idx_ < 0 || progress.stop.size() > stops_[to_size(stop_idx_)].stop.size())) {
        stop_idx_ = to_index(i);
      }
      longest = std::max(longest, progress.matched);
    }
    if (stop_idx_ >= 0) {
      text.append(held_, 0, held_.size() - stops_[to_size(stop_idx_)].stop.size());
      held_.clear();
      return true;
    }
    const std::size_t num_certain = held_.size() - to_size(longest);
    text.append(held_, 0, num_certain);
    held_.erase(0, num_certain);
  }
  return false;
}

void StopMatcher::finish(std::string& text) {
  text += held_;
  held_.clear();
}

}  // namespace fathom::sampling
