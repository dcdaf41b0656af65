#include "fathom/train/data/document_order.h"

#include <algorithm>
#include <utility>

namespace fathom::data {
namespace {

// SplitMix64: the standard library's shuffles draw differently from machine to machine.
class Random {
 public:
  explicit Random(std::uint64_t state) : state_(state) {}

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t value = state_;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ value >> 27) * 0x94d049bb133111ebULL;
    return value ^ value >> 31;
  }

  // Below `limit`, each with the same probability.
  std::uint64_t below(std::uint64_t limit) {
    const std::uint64_t unfair = (0 - limit) % limit;  // 2^64 mod limit values at the lower end
    std::uint64_t value = next();
    while (value < unfair) {
      value = next();
    }
    return value % limit;
  }

 private:
  std::uint64_t state_;
};

}  // namespace

DocumentOrder::DocumentOrder(std::vector<std::uint32_t> documents, std::uint64_t seed)
    : documents_(std::move(documents)), seed_(seed) {
  set_epoch(0);
}

void DocumentOrder::set_epoch(Index epoch) {
  if (epoch == epoch_) {
    return;
  }
  epoch_ = epoch;
  // From the ascending order each time: no epoch depends on the one before.
  std::sort(documents_.begin(), documents_.end());
  Random lots(seed_);
  Random random(lots.next() ^ Random(static_cast<std::uint64_t>(epoch)).next());
  for (std::size_t i = documents_.size(); i > 1; --i) {
    std::swap(documents_[i - 1], documents_[random.below(i)]);
  }
}

}  // namespace fathom::data
