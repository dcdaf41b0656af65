// The order in which a data set's documents are read: every one once per epoch, shuffled.
#pragma once

#include <cstdint>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::data {

// Keeps 4 bytes per document. An epoch's order follows from the seed and the epoch's number alone:
// it does not matter which epochs were asked for before.
class DocumentOrder {
 public:
  // The numbers of the documents that take part, ascending, at most 2^32.
  DocumentOrder(std::vector<std::uint32_t> documents, std::uint64_t seed);

  Index size() const { return to_index(documents_.size()); }
  Index epoch() const { return epoch_; }
  void set_epoch(Index epoch);
  Index at(Index place) const { return documents_[to_size(place)]; }

 private:
  std::vector<std::uint32_t> documents_;
  std::uint64_t seed_;
  Index epoch_ = -1;
};

}  // namespace fathom::data
