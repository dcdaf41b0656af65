// MinHash: how alike two texts are, from a few numbers of each.
//
// Texts are compared as sets of shingles, runs of five words; their likeness is the Jaccard index,
// the share of shingles in both among those in either. Each of 128 numbers of a signature agrees
// with that probability, so the share of numbers that agree estimates it, with a standard error of
// at most 0.045 (Broder 1997).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "fathom/base/core/index.h"

namespace fathom::data {

inline constexpr Index kShingleWords = 5;
inline constexpr Index kSignatureNumbers = 128;

using Signature = std::array<std::uint16_t, to_size(kSignatureNumbers)>;

// Of a text's words (append_word_hashes). A text of fewer words than a shingle has is one shingle.
Signature signature_of(std::span<const std::uint64_t> words);

// The share of numbers that agree.
double likeness(const Signature& left, const Signature& right);

}  // namespace fathom::data
