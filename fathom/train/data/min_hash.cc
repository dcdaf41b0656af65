#include "fathom/train/data/min_hash.h"

#include <algorithm>

#include "fathom/train/data/words.h"

namespace fathom::data {
namespace {

constexpr std::size_t kNumbers = to_size(kSignatureNumbers);

std::uint64_t mixed(std::uint64_t value) {
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ value >> 27) * 0x94d049bb133111ebULL;
  return value ^ value >> 31;
}

// x -> (a x + b) >> 32 for an odd a: one ordering of the shingles per number.
struct Orderings {
  std::array<std::uint64_t, kNumbers> factor;
  std::array<std::uint64_t, kNumbers> offset;
};

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

Orderings make_orderings() {
  Orderings orderings{};
  for (std::size_t i = 0; i < kNumbers; ++i) {
    orderings.factor[i] = mixed((2 * i + 1) * kGolden) | 1;
    orderings.offset[i] = mixed((2 * i + 2) * kGolden);
  }
  return orderings;
}

}  // namespace

Signature signature_of(std::span<const std::uint64_t> words) {
  static const Orderings kOrderings = make_orderings();
  std::array<std::uint32_t, kNumbers> least{};
  least.fill(UINT32_MAX);
  const std::size_t width = std::min(words.size(), to_size(kShingleWords));
  for (std::size_t begin = 0; begin + width <= words.size(); ++begin) {
    const std::uint64_t shingle = hash_of_words(words.subspan(begin, width));
    for (std::size_t i = 0; i < kNumbers; ++i) {
      const auto value =
          static_cast<std::uint32_t>((shingle * kOrderings.factor[i] + kOrderings.offset[i]) >> 32);
      least[i] = std::min(least[i], value);
    }
    if (width == 0) {
      break;
    }
  }
  Signature signature{};
  for (std::size_t i = 0; i < kNumbers; ++i) {
    // Least values are small: their high bits would all be alike.
    signature[i] = static_cast<std::uint16_t>(mixed(least[i]) >> 48);
  }
  return signature;
}

double likeness(const Signature& left, const Signature& right) {
  Index num_equal = 0;
  for (std::size_t i = 0; i < kNumbers; ++i) {
    num_equal += left[i] == right[i] ? 1 : 0;
  }
  return static_cast<double>(num_equal) / static_cast<double>(kSignatureNumbers);
}

}  // namespace fathom::data
