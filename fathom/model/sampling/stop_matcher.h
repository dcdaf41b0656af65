// Finds stop strings in a reply that arrives in pieces, also across the borders of tokens.
//
// What could still become a stop string is held back; the stop string itself is never part of the
// text. The match that ends first wins, and of those that end together the longest, which is the
// one that begins first; so the outcome does not depend on how the text was cut into pieces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::sampling {

class StopMatcher {
 public:
  // Throws InvalidArgument for an empty stop string.
  explicit StopMatcher(std::vector<std::string> stops);

  // Appends to `text` what is certain not to belong to a stop string. Returns true once one was
  // found; pieces after it are ignored.
  bool push(std::string_view piece, std::string& text);
  // The reply ended: appends what was held back.
  void finish(std::string& text);

  // The index of the stop string that was found, or -1.
  Index stop_idx() const { return stop_idx_; }

 private:
  // How long a prefix of this stop the text so far ends with.
  struct Progress {
    std::string stop;
    std::vector<Index> fallback;  // Knuth, Morris, Pratt
    Index matched = 0;
  };
  static void advance(Progress& progress, char byte);

  std::vector<Progress> stops_;
  std::string held_;
  Index stop_idx_ = -1;
};

}  // namespace fathom::sampling
